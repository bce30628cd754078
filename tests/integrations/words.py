"""Vectors that say which of a few words a text has, so that a test can tell what is near what."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from llama_index.core.embeddings import BaseEmbedding

WORDS = ['chess', 'garden', 'engine', 'night', 'river', 'letters']


def vector(text: str) -> list[float]:
    """Return how often each word is in a text; and a little of everything, for a cosine of nothing is nothing."""
    return [0.1 + text.lower().split().count(word) for word in WORDS]


class LangChainWords(Embeddings):
    """These vectors for LangChain."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(len(texts))
        return list(map(vector, texts))

    def embed_query(self, text: str) -> list[float]:
        return vector(text)


class LlamaIndexWords(BaseEmbedding):
    """These vectors for LlamaIndex."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return vector(query)
