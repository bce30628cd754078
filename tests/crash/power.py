"""
What a power cut leaves of the files that a program has written, and whether it has synced what it relies on.

A `Disk` knows of every change in a `Recording` whether a sync has made it sure. At a power cut what is sure stays. Of
the rest it is left to chance, as it is to a file system and the drive below it:

* A write is kept, lost or torn: of its sectors of 512 bytes any may have arrived. What was written to the same
  sector before has then arrived with it, for what goes to the drive is the sector as it is in memory.
* A file that a lost write would have made longer is longer all the same, with zeros there, or it is not.
* A resize is kept or lost.
* What changed in the names of a directory (a creation, a renaming, a removal) is kept or lost, either up to some moment
  or each by itself. A file whose creation was lost does not exist, even if it was synced itself; one whose renaming was
  lost has its old name, and what had the new one is still there.

A sync of a file makes its bytes and its size sure, but no name. A sync of a directory makes its names sure.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from tests.crash.strace import TOP, Change, Event, Mark, Names, Recording, Resize, Sync, Write, patch

SECTOR = 512
HEADER = 64
"""Bytes of a vector file before its first row."""


# -- what is sure, and what a power cut leaves ---------------------------------------------------------


@dataclass
class _File:
    sure: bytearray = field(default_factory=bytearray)
    unsure: dict[int, Write | Resize] = field(default_factory=dict)


@dataclass
class _Directory:
    sure: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    unsure: dict[int, Names] = field(default_factory=dict)


@dataclass(frozen=True)
class Fate:
    """
    What becomes of a change that is not sure.

    Attributes:
        is_kept: Whether it happens. Of a write: whether the file is as long afterwards.
        sectors: Of a write, which sectors arrive.
    """

    is_kept: bool
    sectors: Sequence[int] = ()


class Disk:
    """
    The files of a recording at some position in it.

    Attributes:
        position: How many of the events have happened.
    """

    def __init__(self, recording: Recording) -> None:
        self.position = 0
        self._recording = recording
        self._files: defaultdict[int, _File] = defaultdict(_File)
        self._directories: defaultdict[int, _Directory] = defaultdict(_Directory)

    def advance(self, position: int) -> None:
        """Let everything happen up to a position."""
        while self.position < position:
            self._happen(self._recording.events[self.position])
            self.position += 1

    def _happen(self, event: Event) -> None:
        if isinstance(event, Names):
            self._directories[event.node].unsure[self.position] = event
            _name(self._directories[event.node].names, event)
        elif isinstance(event, (Write, Resize)):
            self._files[event.node].unsure[self.position] = event
        elif isinstance(event, Sync) and event.node in self._recording.directories:
            directory = self._directories[event.node]
            directory.sure = dict(directory.names)
            directory.unsure.clear()
        elif isinstance(event, Sync):
            file = self._files[event.node]
            for change in file.unsure.values():
                patch(file.sure, change)
            file.unsure.clear()

    def unsure(self) -> Iterator[Change]:
        """Yield what is not sure of all that has a name now; each name that changed by itself."""
        for path, node in self._walk({node: directory.names for node, directory in self._directories.items()}):
            if node in self._recording.directories:
                for change in self._directories[node].unsure.values():
                    yield from (replace(change, names={name: given}) for name, given in change.names.items())
            else:
                yield from (replace(change, path=path) for change in self._files[node].unsure.values())

    def uncopied(self) -> list[Change]:
        """Return writes of vectors that are not sure, and committed without a copy in all that SQLite has written."""
        found: list[Change] = []
        nodes = dict(self._walk({node: directory.names for node, directory in self._directories.items()}))
        for path in [path for path in nodes if path.endswith('documents.sqlite3')]:
            top = path.removesuffix('documents.sqlite3')
            writes = [
                (name, self._stride(node), change)
                for name, node in nodes.items()
                if fnmatch(name, f'{top}vectors/*.f32')
                for change in self._files[node].unsure.values()
                if isinstance(change, Write) and change.offset >= HEADER
            ]
            if writes:
                committed = _Committed([self._whole(nodes[name]) for name in (path, f'{path}-wal') if name in nodes])
                found += [write[-1] for write in writes if not committed.has_copies(*write)]
        return found

    def _stride(self, node: int) -> int:
        header = self._whole(node)
        (dim,), (width,) = struct.unpack_from('<I', header, 12), struct.unpack_from('<I', header, 28)
        return int(width) * int(dim) + 4

    def _whole(self, node: int) -> bytes:
        file = self._files[node]
        content = bytearray(file.sure)
        for change in file.unsure.values():
            patch(content, change)
        return bytes(content)

    def is_empty(self, node: int) -> bool:
        """Return whether a file has never had anything in it."""
        return not self._files[node].sure and not self._files[node].unsure

    def cut_power(self, chance: Random, path: Path) -> None:
        """Make `path` a directory as a power cut may leave it now."""
        fates = self._fates(chance)
        names = {node: _names_left(directory, fates) for node, directory in self._directories.items()}
        path.mkdir(parents=True)
        for name, node in self._walk(names):
            if node not in self._recording.directories:
                (path / name).write_bytes(_bytes_left(self._files[node], fates))
            elif node != TOP:
                (path / name).mkdir()

    def _walk(self, names: Mapping[int, Mapping[str, int]]) -> Iterator[tuple[str, int]]:
        """Yield every path, each after that of its directory, and the node there."""
        found = [('', TOP)]
        while found:
            path, node = found.pop()
            yield path, node
            found.extend(names.get(node, {}).items())

    def _fates(self, chance: Random) -> dict[int, Fate]:
        """Return what becomes of each change that is not sure, by its position."""
        unsure: dict[int, Change] = {}
        for file in self._files.values():
            unsure.update(file.unsure)
        for directory in self._directories.values():
            unsure.update(directory.unsure)
        positions = sorted(unsure)
        kind = chance.choice(['all', 'none', 'in order', 'in order', 'each', 'each', 'each'])
        if kind == 'each':
            return {at: _any_fate(unsure[at], chance) for at in positions}
        end = {'all': self.position, 'none': 0, 'in order': chance.choice(positions or [0])}[kind]
        fates = {at: _fate(unsure[at], is_kept=at < end) for at in positions}
        return {**fates, end: _any_fate(unsure[end], chance)} if end in fates else fates


class _Committed:
    """What an SQLite file and its log, if there is one, say of vectors."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / 'db'
            for name, content in zip(('db', 'db-wal'), contents, strict=False):
                path.with_name(name).write_bytes(content)
            with closing(sqlite3.connect(path)) as connection:
                meta = dict(connection.execute('SELECT key, value FROM meta'))
                rows = connection.execute('SELECT field, label, row FROM unsynced').fetchall()
        self._next_label, self._generation = int(meta['next_label']), int(meta['generation'])
        self._copies = {(field, label): row for field, label, row in rows}

    def has_copies(self, path: str, stride: int, change: Write) -> bool:
        """Return whether all rows in a write to a vector file are either not committed, or copied."""
        field, generation, _ = path.rpartition('/')[2].split('.')
        if int(generation) != self._generation:
            return True
        start, stop = ((at - HEADER) // stride for at in (change.offset, change.end))
        return all(
            self._copies.get((field, label)) == change.data[(label - start) * stride :][:stride]
            for label in range(start, min(stop, self._next_label))
        )


def _fate(change: Change, is_kept: bool) -> Fate:
    return Fate(is_kept, _sectors(change) if is_kept else ())


def _any_fate(change: Change, chance: Random) -> Fate:
    kind = chance.choice(['kept', 'lost', 'torn'])
    is_kept = kind == 'kept' or chance.random() < 0.5
    share = {'kept': 1.0, 'lost': 0.0, 'torn': 0.5}[kind]
    return Fate(is_kept, [sector for sector in _sectors(change) if chance.random() < share])


def _sectors(change: Change) -> Sequence[int]:
    return range(change.offset // SECTOR, -(-change.end // SECTOR)) if isinstance(change, Write) else ()


def _name(names: dict[str, int], change: Names) -> None:
    for path, node in change.names.items():
        names.pop(path, None)
        if node is not None:
            names[path] = node


def _names_left(directory: _Directory, fates: Mapping[int, Fate]) -> dict[str, int]:
    names = dict(directory.sure)
    for at, change in directory.unsure.items():
        if fates[at].is_kept:
            _name(names, change)
    return names


def _bytes_left(file: _File, fates: Mapping[int, Fate]) -> bytearray:
    last = {sector: at for at in file.unsure for sector in fates[at].sectors}
    content = bytearray(file.sure)
    for at, change in file.unsure.items():
        if isinstance(change, Write):
            for sector in _sectors(change):
                if last.get(sector, -1) >= at:
                    patch(content, _within(change, sector))
        if fates[at].is_kept:
            size = change.size if isinstance(change, Resize) else max(change.end, len(content))
            patch(content, Resize(change.path, change.node, size))
    return content


def _within(change: Write, sector: int) -> Write:
    """Return that part of a write which lies in a sector."""
    start, end = max(change.offset, sector * SECTOR), min(change.end, (sector + 1) * SECTOR)
    return replace(change, offset=start, data=change.data[start - change.offset : end - change.offset])


@dataclass(frozen=True)
class Cut:
    """
    A power cut.

    Attributes:
        path: The directory as it was left.
        said: The lines that the program had printed.
        position: How many events had happened.
        before: What would have come next, for a reader.
    """

    path: Path
    said: list[str]
    position: int
    before: str


def cuts(recording: Recording, seed: int, count: int, path: Path) -> Iterator[Cut]:
    """
    Yield power cuts in the order of their moments: half of them just before or after a sync or a line that was printed.

    The directory at `path` is made anew for each; after an error it stays.
    """
    events, chance = recording.events, Random(seed)
    moments = range(recording.start, len(events) + 1)
    edges = [at + after for at in moments[:-1] for after in (0, 1) if isinstance(events[at], (Sync, Mark))]
    chosen = sorted(chance.choices(edges, k=count // 2) + chance.choices(moments, k=count - count // 2))
    disk = Disk(recording)
    for number, position in enumerate(chosen):
        disk.advance(position)
        disk.cut_power(Random(f'{seed} {number}'), path)
        said = [event.text for event in events[recording.start : position] if isinstance(event, Mark)]
        yield Cut(path, said, position, str(events[position]) if position < len(events) else 'the end')
        shutil.rmtree(path)


# -- what must be sure ----------------------------------------------------------------------------------


def audit(recording: Recording) -> list[str]:
    """
    Return what a recorded program, which prints a line whenever a call has returned, failed to sync in time.

    When a call has returned, everything must be sure but what is dispensable (see `_is_dispensable`). And before that:

    * Graph files are sure before SQLite's log, which may mention them, is written to (I6).
    * Once SQLite's log is written, whatever it has of it on the disk, each vector that is committed there is sure, or
      there is a copy of it (I2).
    * A commit is sure before the header of a vector file counts it, and before vectors that it replaces are removed.
    * What is in SQLite's log is sure in the database before the log is begun again, cut off or removed.
    """
    disk = Disk(recording)
    complaints = []
    for position in range(recording.start, len(recording.events)):
        event = recording.events[position]
        disk.advance(position)
        needed = _needed(event)
        for change in disk.unsure() if needed else ():
            is_needed = any(fnmatch(_about(change), pattern) for pattern in needed)
            if is_needed and not _is_dispensable(change, disk):
                complaints.append(f'{event}: not sure by then is {change}')
        if _may_commit(event):
            complaints += [f'before {event}: in no copy, and not sure, is {change}' for change in disk.uncopied()]
    return complaints


def _may_commit(event: Event) -> bool:
    """Return whether vectors may have become committed, or their copies been forgotten, just before an event."""
    # A commit, and a forgetting, are complete in the log once something else happens than that more is written to it.
    return isinstance(event, (Sync, Mark)) or _is_counter(event)


def without_syncs(recording: Recording, path: str) -> Recording:
    """Return what would have been recorded if what is called like `path` had never been synced."""
    kept = [
        event
        for position, event in enumerate(recording.events)
        if position < recording.start or not (isinstance(event, Sync) and fnmatch(event.path, path))
    ]
    return Recording(kept, recording.directories)


def _needed(event: Event) -> list[str]:
    """Return patterns of the paths that must be sure before an event happens."""
    if isinstance(event, Mark):
        return ['*']
    if isinstance(event, Sync):
        return []
    is_removal = isinstance(event, Names) and event.names[_about(event)] is None
    if _is_counter(event) or (is_removal and fnmatch(_about(event), '*/vectors/*.f32')):
        return [f'{_about(event).rpartition("/vectors/")[0]}/*-wal']
    if not _about(event).endswith('-wal'):
        return []
    database = _about(event).removesuffix('-wal')
    if isinstance(event, Names):
        return [database] if is_removal else []
    if isinstance(event, Resize):
        return [database]
    directory = database.rpartition('/')[0]
    spoken_of = [f'{directory}/graphs/*.hnsw']
    return [*spoken_of, database] if event.offset == 0 else spoken_of


def _about(change: Change) -> str:
    """Return the path that changes; of a renaming the new one."""
    return list(change.names)[-1] if isinstance(change, Names) else change.path


def _is_counter(change: Change) -> bool:
    """Return whether this is `VectorFile.acknowledge`."""
    return (
        isinstance(change, Write)
        and fnmatch(change.path, '*/vectors/*.f32')
        and (change.offset, len(change.data)) == (16, 8)
    )


def _is_dispensable(change: Change, disk: Disk) -> bool:
    """Return whether nothing is lost if a change that is not sure is lost."""
    if _is_counter(change):
        return True  # a file that counts fewer commits than there are is not in doubt
    if isinstance(change, Write) and fnmatch(change.path, '*/vectors/*.f32') and change.offset >= HEADER:
        return True  # `Disk.uncopied` looks at these
    is_log = _about(change).endswith('-wal')
    if isinstance(change, Names):
        (node,) = change.names.values()
        if node is None:
            # A cache, or vectors that nobody speaks of, are swept away when they come back. A log that comes back says
            # nothing that is not in the database: `_needed` when it was removed.
            return is_log or any(fnmatch(_about(change), name) for name in ('*/vectors/*', '*/graphs/*'))
        return is_log and disk.is_empty(node)  # SQLite creates it when it opens the database, and syncs it later
    return is_log and isinstance(change, Resize) and change.size == 0  # the same as if it were removed
