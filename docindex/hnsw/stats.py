"""What an open index consists of, in numbers: documents, vectors, graphs, bytes, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display import Sections, Shown, bytes_of, file_sizes, files_as_table, size_as_text
from .graph import why_impossible
from .state import View
from .store import Store


@dataclass(frozen=True)
class FieldStats:
    """
    What is there of one vector field.

    Attributes:
        vectors: How many documents have a vector.
        dead: How many vectors of deleted and replaced versions are still there, until `compact`.
        settings: The settings in force; see `docindex.fields.VectorSettings`.
        vector_bytes: How much room its vector file takes on the disk.
        graph_bytes: How large its graph file is; 0 if there is none.
        is_loaded: Whether its graph is in memory. False, too, if it has none (`index=False`), or hnswlib is missing.
        capacity: For how many vectors the graph has room in memory; it doubles when that is used up.
        behind: How many vectors are not in the graph yet: searches compare with them one by one.
        memory: How many bytes the graph has in memory, about; see `docindex.hnsw.graph.Graph.memory`.
        loading_seconds: How long it took to load the graph the last time; None: it was built here, or sleeps still.
        saving_seconds: How long it took to save it the last time; None: this process has not.
    """

    vectors: int
    dead: int
    settings: Mapping[str, Any]
    vector_bytes: int
    graph_bytes: int
    is_loaded: bool
    capacity: int
    behind: int
    memory: int
    loading_seconds: float | None
    saving_seconds: float | None


@dataclass(frozen=True)
class IndexStats(Sections):
    """
    What an open index consists of.

    Attributes:
        name: Its name.
        work_dir: The directory.
        documents: How many documents there are, by the name of their list; under '' those that are indexed.
        dead: How many versions of documents, of all levels, were deleted or replaced, and wait for `compact`.
        fields: Each vector field, by its flat name.
        files: How many bytes the files have, by what is in them: documents, vectors, graphs.
        opening_seconds: How long it took to open the directory, for the first of this process's handles.
        compactions: How often it was compacted.
    """

    name: str
    work_dir: Path
    documents: Mapping[str, int]
    dead: int
    fields: Mapping[str, FieldStats]
    files: Mapping[str, int]
    opening_seconds: float
    compactions: int

    @property
    def title(self) -> str:
        """What it is, in a line."""
        inside = ''.join(f', {count:,} {name}' for name, count in self.documents.items() if name)
        opened = _seconds(self.opening_seconds)
        return f'{self.name}: {self.documents[""]:,} documents{inside}, {self.dead:,} dead; opened in {opened}'

    def _parts(self) -> list[Shown]:
        rows = [[name, *_row(one)] for name, one in self.fields.items()]
        names = [
            'field',
            'vectors',
            'dead',
            'behind',
            'room',
            'memory',
            'graph file',
            'vector file',
            'loading',
            'saving',
        ]
        return [*([Shown('Vector fields', names, rows)] if rows else []), files_as_table(self.files)]


def stats(store: Store, name: str) -> IndexStats:
    """Return the numbers of a store; `name` is that of the index."""
    with store.reading() as view:
        state = view.state
        return IndexStats(
            name,
            store.path,
            {level: view.labels.documents(number) for number, level in enumerate(state.fields.names)},
            len(view.labels.dead),
            {field: _field(view, field) for field in state.settings.effective},
            file_sizes(store.path),
            store.opening_seconds,
            state.generation,
        )


def _field(view: View, name: str) -> FieldStats:
    state = view.state
    graphs, graph, snapshot = state.graphs, state.graphs.get(name), state.graphs.snapshot(name)
    dead = np.array(view.labels.dead, np.int64)
    return FieldStats(
        vectors=view.labels.vectors(name),
        dead=int(np.count_nonzero(~view.labels.absent(name, dead))),
        settings=state.settings.effective[name].to_dict(),
        vector_bytes=bytes_of(state.files[name].path),
        graph_bytes=0 if snapshot is None else snapshot.size,
        is_loaded=graph is not None,
        capacity=0 if graph is None else graph.capacity,
        behind=0 if graph is None else view.searching(name).ahead(graph),
        memory=0 if graph is None else graph.memory,
        loading_seconds=graphs.loading_seconds.get(name),
        saving_seconds=graphs.saving_seconds.get(name),
    )


def _row(one: FieldStats) -> list[str]:
    graph = [f'{one.behind:,}', f'{one.capacity:,}', size_as_text(one.memory)] if one.is_loaded else ['', '', _why(one)]
    file = size_as_text(one.graph_bytes) if one.graph_bytes else ''
    return [
        f'{one.vectors:,}',
        f'{one.dead:,}',
        *graph,
        file,
        size_as_text(one.vector_bytes),
        _seconds(one.loading_seconds),
        _seconds(one.saving_seconds),
    ]


def _why(one: FieldStats) -> str:
    if not one.settings['index']:
        return 'no graph'
    return 'no hnswlib' if why_impossible() else 'not loaded'


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ''
    return f'{seconds:.3g} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'
