"""An index on Milvus without the class of its documents: that is made of what the notes of the index say."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from ..errors import CollectionError
from ..rebuilding import rebuilt
from .config import MilvusDBConfig
from .index import MilvusDocumentIndex
from .notes import Notes
from .server import Server


def open_milvus(config: MilvusDBConfig) -> MilvusDocumentIndex[Any]:
    """
    Open an index that exists; see `docindex.open_index` for what such a class can do.

    Raises:
        CollectionError: there is no index of this name.
        SchemaError: what the notes say of the class makes no sense.
        ServerError: the server cannot be reached.
    """
    name = config.index_name or ''
    with closing(Server(config.uri, config.token, config.db_name, config.timeout, config.consistency)) as server:
        known = Notes(server, name).description() if name else None
        if known is None:
            what = f'there is no index {name!r}' if name else 'the name of the index is missing'
            raise CollectionError(f'{what} at {server.uri}; write milvus://host:19530/name', name)
    doc_type = rebuilt(known['blueprint'])
    base: Any = MilvusDocumentIndex[doc_type]  # type: ignore[valid-type]
    opened = type(
        f'MilvusDocumentIndex[{doc_type.__name__}]', (base,), {'_describes': False, '__module__': base.__module__}
    )
    index: MilvusDocumentIndex[Any] = opened(config)
    return index
