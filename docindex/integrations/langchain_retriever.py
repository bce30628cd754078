"""A retriever of LangChain that can search words, too: what `DocIndexVectorStore.as_retriever` returns."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from .._optional import optional

optional('langchain_core', 'langchain', 'retrievers of LangChain', 'langchain-core')
from langchain_core.documents import Document  # noqa: E402 (its absence has been explained)
from langchain_core.vectorstores import VectorStoreRetriever  # noqa: E402

if TYPE_CHECKING:
    from langchain_core.callbacks.manager import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun


class DocIndexRetriever(VectorStoreRetriever):
    """
    LangChain's retriever, with two more values of `search_type`: 'text' and 'hybrid'.

    `search_kwargs` are the arguments of `DocIndexVectorStore.text_search` and `hybrid_search`.
    """

    allowed_search_types: ClassVar[Collection[str]] = (
        'similarity',
        'similarity_score_threshold',
        'mmr',
        'text',
        'hybrid',
    )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        given = self.search_kwargs | kwargs
        match self.search_type:
            case 'text':
                return [document for document, _ in self._store.text_search(query, **given)]
            case 'hybrid':
                return [document for document, _ in self._store.hybrid_search(query, **given)]
        return super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        given = self.search_kwargs | kwargs
        match self.search_type:
            case 'text':
                return [document for document, _ in await self._store.atext_search(query, **given)]
            case 'hybrid':
                return [document for document, _ in await self._store.ahybrid_search(query, **given)]
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)

    @property
    def _store(self) -> Any:
        return self.vectorstore  # a `DocIndexVectorStore`, which knows this class
