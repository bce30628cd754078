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
"""

from .doclist import DocList as DocList
from .document import (
    ID as ID,
)
from .document import (
    AnyUrl as AnyUrl,
)
from .document import (
    AudioUrl as AudioUrl,
)
from .document import (
    BaseDoc as BaseDoc,
)
from .document import (
    ImageUrl as ImageUrl,
)
from .document import (
    TextUrl as TextUrl,
)
from .document import (
    VideoUrl as VideoUrl,
)
from .errors import (
    ClosedIndexError as ClosedIndexError,
)
from .errors import (
    CorruptIndexError as CorruptIndexError,
)
from .errors import (
    DimensionError as DimensionError,
)
from .errors import (
    DocIndexError as DocIndexError,
)
from .errors import (
    DocumentError as DocumentError,
)
from .errors import (
    DocumentNotFoundError as DocumentNotFoundError,
)
from .errors import (
    FormatVersionError as FormatVersionError,
)
from .errors import (
    IdTypeError as IdTypeError,
)
from .errors import (
    QueryError as QueryError,
)
from .errors import (
    SchemaError as SchemaError,
)
from .errors import (
    SchemaMismatchError as SchemaMismatchError,
)
from .errors import (
    SettingsError as SettingsError,
)
from .errors import (
    VectorError as VectorError,
)
from .errors import (
    WorkDirError as WorkDirError,
)
from .errors import (
    WorkDirLockedError as WorkDirLockedError,
)
from .fields import Field as Field
from .fields import VectorSettings as VectorSettings
from .hnsw.index import HnswDocumentIndex as HnswDocumentIndex
from .index import DocumentIndex as DocumentIndex
from .results import FindResult as FindResult
from .results import FindResultBatched as FindResultBatched
from .tensors import AnyTensor as AnyTensor
from .tensors import NdArray as NdArray

__version__ = '0.1.0'

__all__ = [
    'ID',
    'AnyTensor',
    'AnyUrl',
    'AudioUrl',
    'BaseDoc',
    'ClosedIndexError',
    'CorruptIndexError',
    'DimensionError',
    'DocIndexError',
    'DocList',
    'DocumentError',
    'DocumentIndex',
    'DocumentNotFoundError',
    'Field',
    'FindResult',
    'FindResultBatched',
    'FormatVersionError',
    'HnswDocumentIndex',
    'IdTypeError',
    'ImageUrl',
    'NdArray',
    'QueryError',
    'SchemaError',
    'SchemaMismatchError',
    'SettingsError',
    'TextUrl',
    'VectorError',
    'VectorSettings',
    'VideoUrl',
    'WorkDirError',
    'WorkDirLockedError',
]
