"""
What each library does in the comparison: one module for each, imported only in a process that has the library.

Each takes the way that its documentation recommends for an index in one directory, on one machine; a comment says where
a choice comes from. All graphs have M=16 and ef_construction=200.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.speed.datasets import Batch, Dataset, Float32

M, EF_CONSTRUCTION = 16, 200
EFFORTS = (10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 800, 1200, 2000)

CLASSES = {
    'floor': ('floor', 'Floor'),
    'docindex': ('docindex', 'DocIndex'),
    'docindex-dicts': ('docindex', 'DocIndexDicts'),
    'docindex-columns': ('docindex', 'DocIndexColumns'),
    'docarray': ('docarray', 'DocArray'),
    'chroma': ('chroma', 'Chroma'),
    'lancedb': ('lancedb', 'LanceDB'),
    'zvec': ('zvec', 'Zvec'),
    'qdrant': ('qdrant', 'Qdrant'),
    'sqlite-vec': ('sqlitevec', 'SqliteVec'),
}
"""By name: the module in this package, and the class."""
ONLY_BUILD = {'docindex-dicts', 'docindex-columns'}
"""Those that differ from docindex only in what they are given to index."""


class HasNoneError(Exception):
    """The library has no such thing."""


class Engine(ABC):
    """A library, and one index of it in a directory."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Whose versions are noted."""
    efforts: ClassVar[tuple[int, ...]] = EFFORTS
    """What the search setting is tried at, from fast to thorough; empty where every search is exact."""
    durable: ClassVar[str]
    """How a single upsert gets to the disk, with the number of syncs that strace has seen."""

    def __init__(self, directory: Path, dataset: Dataset) -> None:
        self.directory = directory
        self.data = dataset
        self.meta = dataset.meta
        self.effort: int | None = None

    def define(self) -> None:  # noqa: B027
        """Make the class of the documents, if the library has one; not measured."""

    # -- the index as a whole

    @abstractmethod
    def create(self) -> None:
        """Make an empty index in the directory, which is there and empty."""

    @abstractmethod
    def open(self) -> None:
        """Open what is in the directory."""

    @abstractmethod
    def close(self) -> None:
        """Close the index; all of it is on the disk then."""

    def finish(self) -> None:  # noqa: B027
        """Do what `add` has put off, so that searches are as fast as they get."""

    def settle(self) -> None:  # noqa: B027
        """Bring into the index what was written since it was built, where the library puts that off."""

    # -- writing

    @abstractmethod
    def prepare(self, batch: Batch) -> Any:
        """Return documents in the form that the library takes; not measured."""

    @abstractmethod
    def add(self, ready: Any) -> dict[str, float] | None:
        """Store new documents, durably. May return seconds of a part of the work, by name."""

    @abstractmethod
    def upsert(self, ready: Any) -> None:
        """Store documents, durably, some or all of which replace others."""

    @abstractmethod
    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        """Change one field of documents and nothing else, durably."""

    @abstractmethod
    def delete(self, ids: list[str]) -> None:
        """Delete documents, durably."""

    # -- reading

    def set_effort(self, effort: int | None) -> None:
        """Take a search setting from `efforts`; None is the library's default."""
        self.effort = effort

    @abstractmethod
    def find(self, query: Float32, below: float | None) -> Any:
        """Return the ten nearest documents, complete; only those with `part < below` if that is given."""

    @abstractmethod
    def ids(self, found: Any) -> list[str]:
        """Return the ids in what `find` has returned; not measured."""

    @abstractmethod
    def find_batched(self, queries: Float32) -> Sequence[Any]:
        """Return what `find` returns, for many queries."""

    @abstractmethod
    def get(self, id_: str) -> Any:
        """Return a document by its id, complete."""


def engine_class(name: str) -> type[Engine]:
    """Return the class of an engine; imports its library."""
    module, class_name = CLASSES[name]
    found: type[Engine] = getattr(import_module(f'benchmarks.speed.engines.{module}'), class_name)
    return found
