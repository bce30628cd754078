"""
What a program does to the files below a directory, in order and byte by byte, as strace sees it.

`record` runs a program and returns a `Recording`. Nothing in it is guessed: a system call that touches the directory
and is not known here is a `RecordingError`, and so is a recording from which not exactly those files follow that are
there in the end. What the program prints is part of the recording, each line a `Mark`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.programs import PATIENCE, ROOT, environment

TOP = 0
"""The number of the directory itself; every other file and directory gets the next number when it is created."""
NOT_RECORDED = {
    'docindex.lock': "the kernel's lock on it ends with the process; nobody relies on what is in it",
    'documents.sqlite3*-shm': 'SQLite keeps it mapped in memory, and makes it anew from the log after a crash',
}
_CALLS = (
    'open creat chdir fchdir write pwrite pwritev truncate ftruncate fallocate sync fsync fdatasync msync rename link '
    'symlink unlink mkdir rmdir close dup fcntl lseek mmap clone fork vfork sendfile copy_file_range splice'
)
_TRACED = f'trace=/^({"|".join(_CALLS.split())})'
_LINE = re.compile(r'(\d+) +(\w+)\((.*)\) += (-?\w+|\?).*')
_UNFINISHED = re.compile(r'((\d+) .*) <unfinished \.\.\.>')
_RESUMED = re.compile(r'(\d+) +<\.\.\. \w+ resumed>(.*)')
_DESCRIPTOR = re.compile(r'(\d+)<([^>]*)>')
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class RecordingError(Exception):
    """The log of a program says something that is not understood, or not all that there is to say."""


@dataclass(frozen=True)
class Write:
    """Bytes that a file was given. `path` is its name at that moment, as in every event: `index/vectors/a.0.f32`."""

    path: str
    node: int
    offset: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + len(self.data)


@dataclass(frozen=True)
class Resize:
    """A file was cut off, or extended with zeros."""

    path: str
    node: int
    size: int


@dataclass(frozen=True)
class Names:
    """Names in a directory that changed in one step: a name, and the node that has it now, or None."""

    path: str
    node: int
    names: dict[str, int | None]


@dataclass(frozen=True)
class Sync:
    """A file or a directory was synced."""

    path: str
    node: int


@dataclass(frozen=True)
class Mark:
    """A line that the program printed."""

    text: str


Change = Write | Resize | Names
Event = Change | Sync | Mark


@dataclass
class Recording:
    """
    What a program did.

    Attributes:
        events: In order. What was there before comes first, synced, up to a `Mark('start')`.
        directories: Which nodes are directories, and not files.
    """

    events: list[Event] = field(default_factory=list)
    directories: set[int] = field(default_factory=lambda: {TOP})

    @property
    def start(self) -> int:
        """The position behind what was there before."""
        return self.events.index(Mark('start')) + 1


@cache
def obstacle() -> str:
    """Return why nothing can be recorded here; nothing if it can."""
    if sys.platform != 'linux':
        return 'strace is for Linux'
    if shutil.which('strace') is None:
        return 'strace is not installed'
    tried = subprocess.run(
        ['strace', '-f', '-y', '-xx', '-o', '/dev/null', '-e', _TRACED, 'true'],
        capture_output=True,
        text=True,
        check=False,
    )
    return f'strace cannot trace here: {tried.stderr.strip()}' if tried.returncode else ''


def record(directory: Path, code: str, *arguments: object) -> Recording:
    """Run a Python program that works on the files below `directory`, and return what it did to them."""
    directory = directory.resolve()
    log, printed = (directory.with_name(f'{directory.name}.{ending}') for ending in ('strace', 'printed'))
    kernel = _Kernel(directory, printed)
    command = [sys.executable, '-c', code, *map(str, arguments)]
    with printed.open('wb') as stdout:
        done = subprocess.run(
            ['strace', '-f', '-y', '-xx', '-s', str(1 << 28), '-o', str(log), '-e', _TRACED, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f'the program failed:\n{done.stderr}')
    with log.open(encoding='ascii') as lines:
        for call in _calls(lines, [_hex(directory), _hex(printed)]):
            kernel.take(call)
    kernel.check()
    log.unlink()
    return kernel.recording


# -- the log ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """A system call that succeeded."""

    name: str
    arguments: str
    result: int
    line: str

    def number(self, at: int) -> int:
        """Return the argument at a position; strings count as one, for all in them is written in hexadecimal."""
        return int(self.arguments.split(', ')[at])

    def strings(self) -> list[bytes]:
        """Return all strings among the arguments."""
        found = _STRING.findall(self.arguments)
        if any(is_cut for _, is_cut in found):
            raise RecordingError(f'a string was cut off: {self}')
        return [_bytes(string) for string, _ in found]

    def paths(self) -> list[str]:
        """Return all strings as paths."""
        paths = [os.fsdecode(string) for string in self.strings()]
        if any(not path.startswith(os.sep) or path != os.path.normpath(path) for path in paths):
            raise RecordingError(f'a path that is relative or roundabout: {self}')
        return paths

    def descriptor(self) -> tuple[int, str]:
        """Return the file descriptor that comes first, and the path that strace wrote beside it."""
        found = _DESCRIPTOR.match(self.arguments)
        if found is None:
            raise RecordingError(f'no file descriptor: {self}')
        return int(found[1]), _beside(found[2])

    def __str__(self) -> str:
        return self.line if len(self.line) < 500 else f'{self.line[:400]} ... {self.line[-100:]}'


def _calls(lines: Iterable[str], interesting: list[str]) -> Iterator[_Call]:
    """Yield the calls that succeeded and in which one of the `interesting` strings occurs, or a new process begins."""
    for line in _whole(lines, interesting):
        found = _LINE.fullmatch(line)
        if found is None:
            raise RecordingError(f'cannot read this line: {line[:500]}')
        _, name, arguments, result = found.groups()
        if not result.startswith('-'):
            yield _Call(name, arguments, int(result, 0), line)


def _whole(lines: Iterable[str], interesting: list[str]) -> Iterator[str]:
    """Yield the lines of interest, each that was interrupted by another thread's joined again."""
    begun: dict[str, str] = {}
    for line in map(str.rstrip, lines):
        resumed = _RESUMED.fullmatch(line)
        whole = begun.pop(resumed[1], '') + resumed[2] if resumed else line
        is_process = re.match(r'\d+ +(clone|fork|vfork)', whole)
        if not is_process and not any(string in whole for string in interesting):
            continue
        if begun:
            raise RecordingError(f'two threads at once, in no order that is known: {line[:500]}')
        unfinished = _UNFINISHED.fullmatch(whole)
        if unfinished:
            begun[unfinished[2]] = unfinished[1]
        else:
            yield whole
    if begun:
        raise RecordingError(f'never finished: {begun}')


def _hex(path: Path) -> str:
    return ''.join(f'\\x{byte:02x}' for byte in os.fsencode(path))


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace('\\x', ''))


def _beside(path: str) -> str:
    """Return the path beside a descriptor; of a pipe, say, nothing."""
    return os.fsdecode(_bytes(path)) if path.startswith('\\x') else ''


# -- what the calls do --------------------------------------------------------------------------------


@dataclass
class _Open:
    """A file or directory that is open, and where the next `write` goes."""

    node: int
    position: int = 0
    is_appending: bool = False


class _Kernel:
    """
    Does what the kernel did, call by call, and notes the events.

    Args:
        directory: What is recorded.
        printed: The file that gets what the program prints.
    """

    def __init__(self, directory: Path, printed: Path) -> None:
        self.recording = Recording()
        self._directory = directory
        self._printed = str(printed)
        self._line = b''
        self._nodes = {'': TOP}
        self._paths = {TOP: ''}
        self._contents: dict[int, bytearray] = {}
        self._open: dict[int, _Open] = {}
        self._handlers = {
            **dict.fromkeys(('mkdir', 'mkdirat'), self._make_directory),
            **dict.fromkeys(('unlink', 'unlinkat'), self._unlink),
            **dict.fromkeys(('rename', 'renameat', 'renameat2'), self._rename),
            **dict.fromkeys(('fsync', 'fdatasync'), self._sync),
            **dict.fromkeys(('clone', 'clone3', 'fork', 'vfork'), self._begin),
            'openat': self._open_file,
            'close': self._close,
            'fcntl': self._control,
            'lseek': self._seek,
            'write': self._write,
            'writev': self._write,
            'pwrite64': self._write_at,
            'ftruncate': self._truncate,
            'sendfile': self._send,
            'mmap': self._map,
        }
        for there in sorted(directory.rglob('*')):
            self._take_over(there)
        for node, path in self._paths.items():
            self._note(Sync(path, node))
        self._note(Mark('start'))

    def take(self, call: _Call) -> None:
        """Do what a call did."""
        if call.name not in self._handlers:
            raise RecordingError(f'not known here: {call}')
        self._handlers[call.name](call)

    def check(self) -> None:
        """Raise a `RecordingError` unless the files are those that the events make."""
        there = {self._inside(str(path)): path for path in self._directory.rglob('*')} | {'': self._directory}
        if there.keys() - {None} != self._nodes.keys():
            raise RecordingError(f'there is {sorted(map(str, there))}; recorded was {sorted(self._nodes)}')
        for path, node in self._nodes.items():
            is_directory = node in self.recording.directories
            if is_directory != there[path].is_dir():
                raise RecordingError(f'{path} is not what was recorded')
            if not is_directory and there[path].read_bytes() != self._contents[node]:
                raise RecordingError(f'{path} has not the bytes that were recorded')

    def _take_over(self, file: Path) -> None:
        """Note what was there before the program began."""
        path = self._inside(str(file))
        if path is not None:
            node = self._create(path, file.is_dir())
            if file.is_file():
                self._put(node, 0, file.read_bytes())

    def _note(self, event: Event) -> None:
        self.recording.events.append(event)

    def _inside(self, path: str) -> str | None:
        """Return a path relative to the directory; None if it leads elsewhere, or is not recorded."""
        top = str(self._directory)
        if path != top and not path.startswith(top + os.sep):
            return None
        if any(fnmatch(path.rpartition(os.sep)[2], name) for name in NOT_RECORDED):
            return None
        return path[len(top) + 1 :]

    def _opened(self, call: _Call) -> _Open | None:
        """Return what the first argument is open on; None if that is not recorded."""
        descriptor, path = call.descriptor()
        inside = self._inside(path)
        if (inside is None) != (descriptor not in self._open):
            raise RecordingError(f'it is not known what is open here: {call}')
        return self._open.get(descriptor)

    def _create(self, path: str, is_directory: bool) -> int:
        node = max(self._paths) + 1
        if is_directory:
            self.recording.directories.add(node)
        else:
            self._contents[node] = bytearray()
        self._change_names({path: node})
        return node

    def _change_names(self, names: dict[str, int | None]) -> None:
        (parent,) = set(map(_parent, names))
        for path, node in names.items():
            if node is None:
                del self._nodes[path]
            else:
                self._nodes[path] = node
                self._paths[node] = path
        self._note(Names(parent, self._nodes[parent], names))

    def _put(self, node: int, offset: int, data: bytes) -> None:
        if data:
            event = Write(self._paths[node], node, offset, data)
            patch(self._contents[node], event)
            self._note(event)

    def _resize(self, node: int, size: int) -> None:
        event = Resize(self._paths[node], node, size)
        patch(self._contents[node], event)
        self._note(event)

    def _make_directory(self, call: _Call) -> None:
        (path,) = map(self._inside, call.paths())
        if path is not None:
            self._create(path, is_directory=True)

    def _unlink(self, call: _Call) -> None:
        (path,) = map(self._inside, call.paths())
        if path is not None:
            if self._nodes[path] in self.recording.directories:
                raise RecordingError(f'a directory was removed: {call}')
            self._change_names({path: None})

    def _rename(self, call: _Call) -> None:
        old, new = map(self._inside, call.paths())
        if old is None or new is None or 'EXCHANGE' in call.arguments:
            raise RecordingError(f'no simple renaming: {call}')
        node = self._nodes[old]
        if _parent(old) != _parent(new) or node in self.recording.directories:
            raise RecordingError(f'between two directories, or of one: {call}')
        self._change_names({old: None, new: node})

    def _open_file(self, call: _Call) -> None:
        flags = set(call.arguments.split(', ')[2].split('|'))
        paths = [self._inside(path) for path in call.paths()]
        if paths == [None]:
            return
        (path,) = paths
        assert path is not None
        if 'O_TMPFILE' in flags or call.result in self._open:
            raise RecordingError(f'not an ordinary opening: {call}')
        node = self._nodes.get(path)
        if node is None:
            node = self._create(path, is_directory=False)
        elif 'O_TRUNC' in flags:
            self._resize(node, 0)
        self._open[call.result] = _Open(node, is_appending='O_APPEND' in flags)

    def _close(self, call: _Call) -> None:
        if self._opened(call) is not None:
            del self._open[call.descriptor()[0]]

    def _control(self, call: _Call) -> None:
        file = self._opened(call)
        if file is not None and 'F_DUPFD' in call.arguments:
            self._open[call.result] = file

    def _seek(self, call: _Call) -> None:
        file = self._opened(call)
        if file is not None:
            file.position = call.result

    def _write(self, call: _Call) -> None:
        if call.descriptor()[1] == self._printed:
            *lines, self._line = (self._line + b''.join(call.strings())[: call.result]).split(b'\n')
            for line in lines:
                self._note(Mark(line.decode()))
            return
        file = self._opened(call)
        if file is not None:
            if file.is_appending:
                file.position = len(self._contents[file.node])
            self._put(file.node, file.position, _written(call))
            file.position += call.result

    def _write_at(self, call: _Call) -> None:
        file = self._opened(call)
        if file is not None:
            self._put(file.node, call.number(3), _written(call))

    def _truncate(self, call: _Call) -> None:
        file = self._opened(call)
        if file is not None:
            self._resize(file.node, call.number(1))

    def _send(self, call: _Call) -> None:
        """A copy within the kernel, from an offset that the call gives to wherever the other file stands."""
        file = self._opened(call)
        source, start = (re.search(pattern, call.arguments) for pattern in (r', (\d+)<', r', \[(\d+)\]'))
        if file is None or source is None or start is None or int(source[1]) not in self._open:
            raise RecordingError(f'not a copy of one recorded file to another: {call}')
        content = self._contents[self._open[int(source[1])].node]
        self._put(file.node, file.position, bytes(content[int(start[1]) :][: call.result]))
        file.position += call.result

    def _sync(self, call: _Call) -> None:
        file = self._opened(call)
        if file is not None:
            self._note(Sync(self._paths[file.node], file.node))

    def _map(self, call: _Call) -> None:
        paths = [self._inside(_beside(path)) for _, path in _DESCRIPTOR.findall(call.arguments)]
        if paths != [None] and 'MAP_SHARED' in call.arguments and 'PROT_WRITE' in call.arguments:
            raise RecordingError(f'a file that is written as memory: {call}')

    def _begin(self, call: _Call) -> None:
        if 'CLONE_THREAD' not in call.arguments:
            raise RecordingError(f'another process, whose files are not known: {call}')


def patch(content: bytearray, change: Write | Resize) -> None:
    """Do a change to the content of a file."""
    if isinstance(change, Write):
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.end] = change.data
    else:
        del content[change.size :]
        content.extend(bytes(max(0, change.size - len(content))))


def _parent(path: str) -> str:
    return path.rpartition(os.sep)[0]


def _written(call: _Call) -> bytes:
    """Return what was written: all that the call gave, or its beginning."""
    data = b''.join(call.strings())
    if len(data) < call.result:
        raise RecordingError(f'more was written than can be read here: {call}')
    return data[: call.result]
