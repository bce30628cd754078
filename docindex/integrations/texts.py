"""The index that a vector store makes of its own, where nobody gives it one: texts with metadata, in one directory."""

from __future__ import annotations

from functools import lru_cache
from os import PathLike
from typing import Any

from pydantic import BaseModel, create_model

from ..document import BaseDoc
from ..fields import Field, Space
from ..hnsw.classless import is_index
from ..hnsw.index import HnswDocumentIndex
from ..tensors import NdArray


class Text(BaseDoc):
    """A text with metadata, whose words can be searched too. `open_texts` adds the vector field, `embedding`."""

    text: str = Field(full_text=True)
    metadata: dict[str, Any] = Field(default_factory=dict)


class Node(Text):
    """A piece of a document, and what else LlamaIndex knows of it."""

    ref_doc_id: str | None = None
    node: dict[str, Any] = Field(default_factory=dict)


def open_texts(
    work_dir: str | PathLike[str],
    doc_type: type[BaseModel],
    dim: int,
    space: Space | None = None,
    read_only: bool = False,
    shared_writes: bool = False,
    **settings: Any,
) -> HnswDocumentIndex[Any]:
    """
    Open an index of documents of a class that leaves the settings of its vectors open: `Text` or `Node`.

    What is not set is as the directory has it. In a new one the space is 'cosine', as texts want it.

    Raises:
        SettingsError: nobody knows a setting, or it is out of range.
        WorkDirError: the directory cannot be used: it holds vectors of another length, say.
    """
    if space is not None or not is_index(work_dir):
        settings['space'] = space or 'cosine'
    made = _with_vectors(doc_type, tuple(sorted({'dim': dim, **settings}.items())))
    return HnswDocumentIndex[made](work_dir=work_dir, read_only=read_only, shared_writes=shared_writes)  # type: ignore[valid-type]


@lru_cache(maxsize=256)
def _with_vectors(doc_type: type[BaseModel], settings: tuple[tuple[str, Any], ...]) -> type[BaseModel]:
    vectors = (NdArray, Field(**dict(settings)))
    name, about = doc_type.__name__, doc_type.__doc__
    return create_model(name, __base__=doc_type, __module__=doc_type.__module__, __doc__=about, embedding=vectors)
