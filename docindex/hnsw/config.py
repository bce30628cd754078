"""How an index is opened: what `HnswDocumentIndex` is given besides the schema."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import SettingsError
from ..fields import ColumnConfig, no_column_config
from .state import Access

Durability = Literal['power', 'process']

_SHARED_PATIENCE = 60.0


@dataclass
class HnswDBConfig:
    """
    Where an index is kept, and the settings of its vector fields.

    Attributes:
        work_dir: The directory; the current one by default.
        index_name: A name for this index, if `work_dir` holds several: each gets a directory in it.
        default_column_config: Under the key `np.ndarray`, settings for all vector fields that do not have
            their own; see `docindex.fields.VectorSettings`.
        read_only, shared_writes, durability, auto_compact, trust_graphs, lazy, lock_timeout: See `HnswDocumentIndex`.
    """

    work_dir: str | os.PathLike[str] = '.'
    index_name: str | None = None
    default_column_config: ColumnConfig = field(default_factory=no_column_config)
    read_only: bool = False
    shared_writes: bool = False
    durability: Durability = 'power'
    auto_compact: float | bool = 0.5
    trust_graphs: bool = True
    lazy: bool = False
    lock_timeout: float | None = None

    def changed(self, **options: Any) -> HnswDBConfig:
        """Return a copy with those `options` that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})

    def directory(self) -> Path:
        """
        Return the directory of the index.

        Raises:
            SettingsError: `index_name` cannot be the name of a directory.
        """
        path = Path(self.work_dir)
        if self.index_name is None:
            return path
        if self.index_name in ('', '.', '..') or set(self.index_name) & set('/\\\0:'):
            raise SettingsError(f'index_name becomes a directory, so it cannot be {self.index_name!r}')
        return path / self.index_name

    def access(self) -> Access:
        """
        Return how the directory is to be opened.

        Raises:
            SettingsError: that makes no sense.
        """
        for name in ('read_only', 'shared_writes', 'trust_graphs', 'lazy'):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f'{name} must be True or False, got {getattr(self, name)!r}')
        if self.read_only and self.shared_writes:
            raise SettingsError('read_only and shared_writes exclude each other')
        if self.durability not in ('power', 'process'):
            raise SettingsError(f"durability must be 'power' or 'process', got {self.durability!r}")
        share = self.auto_compact
        if share is True or not isinstance(share, (int, float)) or not (share is False or 0 < share <= 1):
            raise SettingsError(f'auto_compact must be a share above 0 and up to 1, or False for never, got {share!r}')
        return Access(
            read_only=self.read_only,
            shared_writes=self.shared_writes,
            is_synced=self.durability == 'power',
            trusts_graphs=self.trust_graphs,
            compacts_at=share or None,
            is_lazy=self.lazy,
        )

    def patience(self) -> float:
        """Return for how many seconds to wait for another process."""
        if self.lock_timeout is not None:
            return self.lock_timeout
        return _SHARED_PATIENCE if self.shared_writes else 0


@dataclass
class HnswRuntimeConfig:
    """What `configure` changes: under the key `np.ndarray`, settings for all vector fields."""

    default_column_config: ColumnConfig = field(default_factory=no_column_config)
