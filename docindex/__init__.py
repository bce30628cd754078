"""
docindex: a typed document index. Vector search over every vector field of a pydantic model, in one directory.

    >>> import tempfile
    >>> from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
    >>> class Image(BaseDoc):
    ...     url: str
    ...     tensor: NdArray[2] = Field(space='cosine')
    >>> class Video(BaseDoc):
    ...     title: str
    ...     thumbnail: Image
    >>> video = Video(title='A boat', thumbnail=Image(url='boat.png', tensor=[1, 2]))
    >>> with HnswDocumentIndex[Video](work_dir=tempfile.mkdtemp()) as index:
    ...     index.index(video)
    ...     docs, scores = index.find([2, 4], search_field='thumbnail__tensor', limit=3)
    ...     docs.title, scores.round(3).tolist()
    (['A boat'], [0.0])

A name is looked for when it is used. So `import docindex` alone loads nothing else, not even numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._later import later

if TYPE_CHECKING:
    from .copying import CopyReport, copy_index
    from .doclist import DocList
    from .document import ID, BaseDoc
    from .embedding import Embedder
    from .errors import (
        BatchError,
        ClosedIndexError,
        CollectionError,
        CorruptIndexError,
        DimensionError,
        DocIndexError,
        DocumentError,
        DocumentNotFoundError,
        EmbeddingError,
        ExportError,
        FilterError,
        FormatVersionError,
        IdTypeError,
        LoadError,
        MissingLibraryError,
        QueryError,
        ReadOnlyError,
        SchemaError,
        SchemaMismatchError,
        ServerError,
        SettingsError,
        SourceError,
        TableError,
        UrlError,
        VectorError,
        WorkDirError,
        WorkDirLockedError,
    )
    from .expressions import (
        contains,
        contains_all,
        contains_any,
        elem_match,
        exists,
        fields_of,
        given,
        is_in,
        regex,
        size,
    )
    from .fields import Field, VectorSettings
    from .filters import Filter
    from .fromdocarray.importing import import_docarray
    from .fusion import Ranking
    from .hnsw.classless import open_index
    from .hnsw.index import HnswDocumentIndex
    from .index import DocumentIndex
    from .milvus.index import MilvusDocumentIndex
    from .predefined import AudioDoc, ImageDoc, TextDoc, VideoDoc
    from .query import Query, QueryBuilder
    from .results import Explanation, FindResult, FindResultBatched, SubindexFindResult
    from .tensors import AnyTensor, JaxArray, NdArray, TensorFlowTensor, TorchTensor
    from .urls import AnyUrl, AudioUrl, ImageUrl, TextUrl, VideoUrl

__version__ = '0.1.0'

__all__ = [
    'ID',
    'AnyTensor',
    'AnyUrl',
    'AudioDoc',
    'AudioUrl',
    'BaseDoc',
    'BatchError',
    'ClosedIndexError',
    'CollectionError',
    'CopyReport',
    'CorruptIndexError',
    'DimensionError',
    'DocIndexError',
    'DocList',
    'DocumentError',
    'DocumentIndex',
    'DocumentNotFoundError',
    'Embedder',
    'EmbeddingError',
    'ExportError',
    'Explanation',
    'Field',
    'Filter',
    'FilterError',
    'FindResult',
    'FindResultBatched',
    'FormatVersionError',
    'HnswDocumentIndex',
    'IdTypeError',
    'ImageDoc',
    'ImageUrl',
    'JaxArray',
    'UrlError',
    'LoadError',
    'MilvusDocumentIndex',
    'MissingLibraryError',
    'NdArray',
    'Query',
    'QueryBuilder',
    'QueryError',
    'Ranking',
    'ReadOnlyError',
    'SchemaError',
    'SchemaMismatchError',
    'ServerError',
    'SettingsError',
    'TensorFlowTensor',
    'TextDoc',
    'SourceError',
    'SubindexFindResult',
    'TableError',
    'TextUrl',
    'TorchTensor',
    'VectorError',
    'VectorSettings',
    'VideoDoc',
    'VideoUrl',
    'WorkDirError',
    'WorkDirLockedError',
    'contains',
    'contains_all',
    'contains_any',
    'copy_index',
    'elem_match',
    'exists',
    'fields_of',
    'given',
    'import_docarray',
    'is_in',
    'open_index',
    'regex',
    'size',
]

_HOMES = {
    'copying': 'CopyReport copy_index',
    'doclist': 'DocList',
    'document': 'ID BaseDoc',
    'embedding': 'Embedder',
    'errors': (
        'BatchError ClosedIndexError CollectionError CorruptIndexError DimensionError DocIndexError '
        'DocumentError DocumentNotFoundError EmbeddingError ExportError FilterError FormatVersionError '
        'IdTypeError LoadError MissingLibraryError QueryError ReadOnlyError SchemaError SchemaMismatchError '
        'ServerError SettingsError SourceError TableError UrlError VectorError WorkDirError '
        'WorkDirLockedError'
    ),
    'expressions': 'contains contains_all contains_any elem_match exists fields_of given is_in regex size',
    'fields': 'Field VectorSettings',
    'filters': 'Filter',
    'fromdocarray.importing': 'import_docarray',
    'fusion': 'Ranking',
    'hnsw.classless': 'open_index',
    'hnsw.index': 'HnswDocumentIndex',
    'index': 'DocumentIndex',
    'milvus.index': 'MilvusDocumentIndex',
    'predefined': 'AudioDoc ImageDoc TextDoc VideoDoc',
    'query': 'Query QueryBuilder',
    'results': 'Explanation FindResult FindResultBatched SubindexFindResult',
    'tensors': 'AnyTensor JaxArray NdArray TensorFlowTensor TorchTensor',
    'urls': 'AnyUrl AudioUrl ImageUrl TextUrl VideoUrl',
}
"""The public names, by the modules that define them."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # which would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Return a public name, or a module that defines some, and keep it: it is looked for once."""
        if name in _HOME_OF:
            globals()[name] = getattr(later(_HOME_OF[name]), name)
            return globals()[name]
        if name in _HOMES:  # `docindex.errors`, which importing it from here would have made an attribute
            return later(name)
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith('__'))]
