"""How an index on Milvus is opened: what `MilvusDocumentIndex` is given besides the schema."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..fields import ColumnConfig, no_column_config
from .server import without_password


@dataclass
class MilvusDBConfig:
    """
    Where an index is, and the settings of its vector fields.

    Attributes:
        uri, token, db_name, index_name, consistency, timeout, max_vector_fields: See `MilvusDocumentIndex`.
        default_column_config: Under the key `np.ndarray`, settings for all vector fields that do not have their own.
    """

    uri: str = './documents.db'
    token: str = field(default='', repr=False)
    db_name: str = ''
    index_name: str | None = None
    default_column_config: ColumnConfig = field(default_factory=no_column_config)
    consistency: str = 'Session'
    timeout: float = 30
    max_vector_fields: int = 4

    def __repr__(self) -> str:
        shown = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}
        shown['uri'] = without_password(os.fspath(self.uri))
        return f'{type(self).__name__}({", ".join(f"{name}={value!r}" for name, value in shown.items())})'

    def changed(self, **options: Any) -> MilvusDBConfig:
        """Return a copy with those `options` that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})


@dataclass
class MilvusRuntimeConfig:
    """What `configure` changes: under the key `np.ndarray`, settings for all vector fields."""

    default_column_config: ColumnConfig = field(default_factory=no_column_config)
