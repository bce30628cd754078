"""What writes a directory anew instead of adding to it: the files of a compaction, and backups."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import _files
from .._progress import progress_bar
from ..distances import Labels
from ..errors import WorkDirError
from ..locks import SharedLock
from .graphs import GraphCache
from .labels import LabelTable
from .matches import MatchCache
from .mending import mend_all
from .sidecar import Sidecar
from .state import State
from .vectors import VectorFile
from .workdir import WorkDir

_COPY_ROWS = 65_536
_FEW = 1_000


def is_worthwhile(labels: LabelTable, share: float | None) -> bool:
    """Return whether at least this share of all labels is dead, and enough of them to bother."""
    dead = len(labels.dead)
    return share is not None and dead >= _FEW and dead >= share * labels.next


def next_generation(
    work_dir: WorkDir, sidecar: Sidecar, state: State, lock: SharedLock, show_progress: bool | None
) -> State:
    """
    Write vector files and build graphs of the living only, beside those in use, which stay as they are.

    Returns:
        The state as it is once SQLite has renumbered the documents, and not before.
    """
    living = state.labels.living_documents()
    labels = LabelTable({field: state.fields.level_of(field) for field in state.files})
    runs = state.labels.runs_of(living)
    absences = {field: np.flatnonzero(state.labels.lacks_vector(field, living)).tolist() for field in state.files}
    labels.publish(len(living), [], absences, runs)
    generation = state.generation + 1
    with ExitStack() as undo:
        files: dict[str, VectorFile] = {}
        for field in state.files:
            own = living[: labels.rows_needed(field)]
            files[field] = undo.enter_context(closing(_copied(work_dir, state, field, own, generation)))
        graphs = GraphCache(work_dir, sidecar, files, labels, lock)
        graphs.build(state.settings.effective, show_progress)
        mend_all(graphs, show_progress)
        undo.pop_all()
    return replace(
        state,
        labels=labels,
        files=files,
        counters=list(files.values()) or state.counters,
        graphs=graphs,
        generation=generation,
        commits=state.commits + 1,
        matches=MatchCache(),
    )


def _copied(work_dir: WorkDir, state: State, field: str, labels: Labels, generation: int) -> VectorFile:
    """Return a new vector file with the rows of `labels`, in that order, level by level, synced."""
    path, old = work_dir.vector_file(field, generation), state.files[field]
    VectorFile.create(path, old.dim, stored_as=old.stored_as)
    with ExitStack() as undo:
        file = undo.enter_context(closing(VectorFile(path, old.dim, 0, stored_as=old.stored_as)))
        for start in range(0, len(labels), _COPY_ROWS):
            part = labels[start : start + _COPY_ROWS]
            # Labels of other levels have no row: the file has a hole there, which takes no room.
            own = np.flatnonzero(state.labels.is_of_level(field, part))
            if len(own):
                first, last = int(own[0]), int(own[-1]) + 1
                file.write(start + first, state.vectors(field, part[first:last], state.labels))
        file.sync()
        undo.pop_all()
    return file


def backup(work_dir: WorkDir, sidecar: Sidecar, state: State, path: Path, show_progress: bool | None) -> None:
    """
    Copy a directory, to which nobody writes meanwhile, to `path`.

    SQLite comes last: a backup that was interrupted is no index, and says so when it is opened.

    Raises:
        WorkDirError: there is something at `path`.
    """
    if path.exists() and any(path.iterdir()):
        raise WorkDirError('a backup needs an empty directory, or one that does not exist', path)
    sources = state.paths(sidecar.rows)
    sizes = {source: _files.size(source) for source in (*sources, work_dir.database)}
    with progress_bar(sum(sizes.values()), 'copying', show_progress, 'byte') as advance:
        for source in sources:
            target = path / source.relative_to(work_dir.path)
            _files.make_directory(target.parent)
            _files.copy_file(source, target)
            advance(sizes[source])
        beside = path / f'{work_dir.database.name}.new'
        sidecar.backup(beside)
        _files.publish(beside, path / work_dir.database.name)
        advance(sizes[work_dir.database])
