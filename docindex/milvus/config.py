"""How an index on Milvus is opened: what `MilvusDocumentIndex` is given besides the schema."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import SettingsError
from ..fields import ColumnConfig, no_column_config
from .addresses import without_password


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


def config_of(address: str) -> MilvusDBConfig:
    """
    Return how to open an index that is named in one string.

    Args:
        address: `milvus://host:19530/name`, with TLS `milvus+https://host:19530/name`, both with `user:password@`
            before the host if need be; or `milvus:./documents.db/name` for Milvus Lite. Without a name: that of the
            class.

    Raises:
        SettingsError: it is none of these.
    """
    lite = re.fullmatch(r'milvus:(?P<uri>.+?\.db)(?:/(?P<name>[^/]*))?', address)
    server = re.fullmatch(
        r'milvus(?P<tls>\+https)?://(?:(?P<token>[^/@]*)@)?(?P<host>[^/@]+)(?:/(?P<name>[^/]*))?/?', address
    )
    if server is not None and not server['host'].endswith('.db'):
        uri = f'{"https" if server["tls"] else "http"}://{server["host"]}'
        return MilvusDBConfig(uri, server['token'] or '', index_name=server['name'] or None)
    if lite is not None and not lite['uri'].startswith('//'):
        return MilvusDBConfig(lite['uri'], index_name=lite['name'] or None)
    shown = re.sub(r'(?<=//)[^/@]*@', '', address)
    raise SettingsError(
        f'expected milvus://host:19530/name, milvus+https://host/name or milvus:./documents.db/name, got {shown!r}'
    )
