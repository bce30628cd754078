"""
Damaged copies of work directories, and a judge of what docindex makes of them.

As a program, `python -m tests.crash.mutants ORIGINALS < MUTANTS`, it damages copies of the directories that `make_all`
has made, one for each line of JSON, and prints two lines for each: its number before, a `Verdict` as JSON after it. A
crash or a hang ends it, and the last line says on which. One by itself: `echo '{"original": "closed", ...}' | ...`.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from pydantic import BaseModel

from docindex import (
    BaseDoc,
    CorruptIndexError,
    DocIndexError,
    DocList,
    DocumentNotFoundError,
    Field,
    HnswDocumentIndex,
    NdArray,
)
from docindex.testing import same
from tests.crash.agreement import words_of
from tests.crash.shelf import Shelf, inside

SPACES = {'left': 'l2', 'right': 'ip', 'leaf__look': 'cosine'}
LISTS = {'pieces': {'left': 'l2'}, 'pieces__crumbs': {'look': 'cosine'}}
PATIENCE = 60
"""Seconds after which a directory that is neither opened nor refused is taken to hang."""
LIMIT = 4
KINDS = ['cut', 'zero', 'bit', 'bit', 'flip', 'flip', 'garbage', 'move', 'append']
RARE_KINDS = ['swap', 'remove']
_PAGE, _ROW, _HEADER = 4096, 20, 64  # bytes: of SQLite; of a vector and its checksum; before those


class Leaf(BaseDoc):
    look: NdArray | None = Field(default=None, dim=4, space='cosine', index_dim=2, ef=1000)


class Thing(BaseDoc):
    """Three fields of one length, so that their files can stand in for each other; and a payload of all kinds."""

    title: str = Field(full_text=True)
    number: int = 0
    blob: bytes = b''
    left: NdArray = Field(dim=4, space='l2')
    right: NdArray | None = Field(default=None, dim=4, space='ip')
    leaf: Leaf | None = None
    pixels: NdArray | None = Field(default=None, index=False)


class Plain(BaseDoc):
    """No vectors at all."""

    title: str = Field(full_text=True)
    number: int = 0


class Crumb(BaseDoc):
    title: str = Field(full_text=True)
    number: int = 0
    look: NdArray | None = Field(default=None, dim=4, space='cosine')


class Piece(BaseDoc):
    title: str = Field(full_text=True)
    number: int = 0
    left: NdArray = Field(dim=4, space='l2')
    crumbs: list[Crumb] = Field(default_factory=list)


class Kit(BaseDoc):
    """Documents in lists, and in the lists of those; the id of each begins with that of the one that it is in."""

    title: str = Field(full_text=True)
    number: int = 0
    left: NdArray = Field(dim=4, space='ip')
    pieces: DocList[Piece] = Field(default_factory=DocList[Piece])


def things(numbers: range, seed: int) -> list[Thing]:
    random = np.random.default_rng(seed)
    equal = random.standard_normal(4).astype(np.float32)
    found = []
    for number in numbers:
        left, right, look = random.standard_normal((3, 4)).astype(np.float32)
        found.append(
            Thing(
                id=f'thing {number}',
                title=f'{number} of {seed}' * (1 if number % 11 else 400),
                number=number,
                blob=bytes([number, 255]),
                left=equal if number % 6 == 1 else left,
                right=None if number % 3 == 2 else right,
                leaf=Leaf(id=f'leaf {number}', look=None if number % 8 == 0 else look) if number % 4 else None,
                pixels=np.arange(number, dtype=np.int16) if number % 5 == 0 else None,
            )
        )
    return found


def plains(numbers: range, seed: int) -> list[Plain]:
    return [Plain(id=f'thing {number}', title=f'{number} of {seed}', number=number) for number in numbers]


def kits(numbers: range, seed: int) -> list[Kit]:
    random = np.random.default_rng(seed)
    found = []
    for number in numbers:
        id_, title = f'thing {number}', f'{number} of {seed}'
        left = random.standard_normal(4).astype(np.float32)
        order = random.permutation(3)[: (number + seed) % 4].tolist()  # other pieces each time, in another order
        inside = [piece(f'{id_} piece {at}', seed + at, crumbs=(number + at) % 3) for at in order]
        found.append(Kit(id=id_, title=title, number=number, left=left, pieces=DocList[Piece](inside)))
    return found


def piece(id_: str, seed: int, crumbs: int = 0) -> Piece:
    random = np.random.default_rng(seed)
    left, *looks = random.standard_normal((1 + crumbs, 4)).astype(np.float32)
    found = Piece(id=id_, title=f'{crumbs} of {seed}', number=seed, left=left)
    for at, look in enumerate(looks):
        crumb = Crumb(id=f'{id_} crumb {at}', title=f'{at} of {seed}', number=at, look=None if seed % 4 == 3 else look)
        found.crumbs.append(crumb)
    return found


class Oracle(Shelf):
    """An exact index that keeps its answers, for it is asked the same for each mutant."""

    def __init__(self, docs: list[Any], spaces: dict[str, str]) -> None:
        super().__init__(spaces)
        self._within: dict[str, Oracle] = {}
        self._answers: dict[tuple[str, bytes], dict[str, float]] = {}
        self.index(docs)

    def within(self, name: str) -> Oracle:
        """Return what should be in a list, in all of them; to be asked when nothing changes any more."""
        if name not in self._within:
            children = [child for doc in self.docs.values() for child in inside(doc, name.split('__'))]
            self._within[name] = Oracle(children, LISTS[name])
        return self._within[name]

    def distances(self, query: Any, search_field: str) -> dict[str, float]:
        key = search_field, query.tobytes()
        if key not in self._answers:
            self._answers[key] = super().distances(query, search_field)
        return self._answers[key]


# -- the originals --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Original:
    """
    A directory as it was before the damage.

    Attributes:
        doc_type: Of its documents.
        docs: What is stored, by id.
    """

    doc_type: type[BaseDoc]
    docs: list[Any]

    def oracle(self) -> Oracle:
        return Oracle(self.docs, _SPACES[self.doc_type])


_SPACES = {Thing: SPACES, Kit: {'left': 'ip'}, Plain: {}}
_MAKE: dict[type[BaseDoc], Callable[[range, int], list[Any]]] = {Thing: things, Kit: kits, Plain: plains}


def _some(doc_type: type[BaseDoc], numbers: range, seed: int) -> list[Any]:
    return _MAKE[doc_type](numbers, seed)


def _closed(path: Path, doc_type: type[BaseDoc]) -> Shelf:
    """Make a directory with a past: replaced, deleted, changed; everything is folded in and the graphs are saved."""
    docs = Shelf({})
    with HnswDocumentIndex[doc_type](work_dir=path) as index:  # type: ignore[valid-type]
        _store(index, docs, _some(doc_type, range(30), 1))
    with HnswDocumentIndex[doc_type](work_dir=path) as index:  # type: ignore[valid-type]
        _store(index, docs, _some(doc_type, range(0, 30, 7), 2))
        for store in (index, docs):
            store.delete(['thing 2', 'thing 13', 'thing 20'])
            store.update('thing 8', title='Eight')
            if doc_type is Kit:
                _change_lists(store, 'thing 9', 6)
    return docs


def _killed(path: Path, doc_type: type[BaseDoc]) -> Shelf:
    """Make a directory as a killed process leaves it: its last commits in the log only, its graph files behind."""
    life = path.with_name(f'{path.name}, earlier')
    docs = _closed(life, doc_type)
    with HnswDocumentIndex[doc_type](work_dir=life) as index:  # type: ignore[valid-type]
        _store(index, docs, _some(doc_type, range(40, 44), 3))
        _store(index, docs, _some(doc_type, range(5, 9), 4))
        for store in (index, docs):
            store.delete(['thing 41', 'thing 25'])
            store.update('thing 11', title='Eleven')
            if doc_type is Kit:
                _change_lists(store, 'thing 40', 7)
        shutil.copytree(life, path)
    return docs


def _young(path: Path, doc_type: type[BaseDoc]) -> Shelf:
    """Make a directory that was killed soon: the log has everything."""
    life = path.with_name(f'{path.name}, earlier')
    docs = Shelf({})
    with HnswDocumentIndex[doc_type](work_dir=life) as index:  # type: ignore[valid-type]
        _store(index, docs, _some(doc_type, range(8), 5))
        _store(index, docs, _some(doc_type, range(4, 12), 6))
        for store in (index, docs):
            store.delete(['thing 9'])
        shutil.copytree(life, path)
    return docs


def _store(index: Any, docs: Shelf, new: list[Any]) -> None:
    for store in (index, docs):
        store.index(new)


def _change_lists(store: Any, kit: str, seed: int) -> None:
    """Append to the list of a kit, and to a list in that; change and delete what is in lists."""
    pieces, crumbs = (store.subindex(name) for name in LISTS)
    new = f'{kit} piece {seed}'
    pieces.append(kit, [piece(new, seed, crumbs=2), piece(f'{kit} piece {seed + 100}', seed + 1, crumbs=1)])
    crumbs.append(new, [Crumb(id=f'{new} crumb 7', title='Seventh', look=np.array([1, 2, 3, seed], np.float32))])
    pieces.update(new, title='New')
    crumbs.delete([f'{new} crumb 0'])
    pieces.update([piece(f'{kit} piece {seed + 100}', seed + 2, crumbs=2)])


_MAKERS: dict[str, tuple[Callable[[Path, type[BaseDoc]], Shelf], type[BaseDoc]]] = {
    'closed': (_closed, Thing),
    'killed': (_killed, Thing),
    'listed closed': (_closed, Kit),
    'listed killed': (_killed, Kit),
    'plain closed': (_closed, Plain),
    'plain young': (_young, Plain),
}
ORIGINALS = tuple(_MAKERS)


def make_all(path: Path) -> dict[str, Original]:
    """Make the directories that are to be damaged, each under its name; in the same way each time."""
    found = {}
    for name, (maker, doc_type) in _MAKERS.items():
        docs = maker(path / name, doc_type)
        for unused in (path / name).glob('*-shm'):  # SQLite makes it anew
            unused.unlink()
        found[name] = Original(doc_type, list(docs.docs.values()))
    return found


def known_originals(path: Path) -> dict[str, Original]:
    """Return what `make_all` returned in another process."""
    with tempfile.TemporaryDirectory(dir=path) as again:
        return make_all(Path(again))


# -- damage ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """
    A directory and what is done to a copy of it.

    Attributes:
        original: Its name.
        file: The file that is damaged, within the directory.
        kind: What is done to it; see `apply`.
        at: Where, in bytes.
        size: To how many bytes.
        seed: What is chosen by chance: the bits to flip, the garbage.
        other: A second file; or what is done to the tables, as SQL.
    """

    original: str
    file: str
    kind: str
    at: int = 0
    size: int = 1
    seed: int = 0
    other: str = ''

    def apply(self, directory: Path) -> None:
        """Do it."""
        path, random = directory / self.file, Random(self.seed)
        if self.kind == 'sql':
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute(self.other)
            return
        before = path.read_bytes()
        content = bytearray(before)
        part = slice(self.at, self.at + self.size)
        held = len(content[part])
        if self.kind == 'remove':
            path.unlink()
            return
        if self.kind == 'swap':
            other = directory / self.other
            content = bytearray(other.read_bytes())
            other.write_bytes(before)
        elif self.kind == 'cut':
            del content[self.at :]
        elif self.kind == 'zero':
            content[part] = bytes(held)
        elif self.kind == 'bit':
            content[part] = bytes(byte ^ 1 << random.randrange(8) for byte in content[part])
        elif self.kind == 'flip':
            content[part] = bytes(byte ^ random.randrange(1, 256) for byte in content[part])
        elif self.kind == 'garbage':
            content[part] = random.randbytes(held)
        elif self.kind == 'move':  # what belongs elsewhere in the file
            start = random.randrange(max(len(content) - self.size, 0) + 1) // self.size * self.size
            content[part] = before[start : start + held].ljust(held, b'\0')
        elif self.kind == 'append':
            content += random.randbytes(self.size)
        else:
            raise ValueError(self.kind)
        path.write_bytes(content)


def files_in(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob('*') if path.is_file())


def random_mutants(originals: Path, random: Random) -> Iterator[Mutant]:
    """Yield damage of all kinds, without end; files that hold the truth come up more often."""
    contents = {
        name: {file: (originals / name / file).read_bytes() for file in files_in(originals / name)}
        for name in ORIGINALS
    }
    while True:
        original = random.choice(ORIGINALS)
        files = contents[original]
        truth = [file for file in files if 'sqlite3' in file or file.startswith('vectors')]
        file = random.choice(truth * 3 + list(files))
        kind = random.choice(KINDS * 20 + RARE_KINDS * 4)
        size = random.choice([1, 1, 1, 2, 4, 16, _ROW, 100, 512, _PAGE])
        at = somewhere(files[file], random)
        if size in (_ROW, _PAGE):
            first = _HEADER if size == _ROW else 0
            at = max(at - first, 0) // size * size + first
        other = random.choice([name for name in files if name != file])
        yield Mutant(original, file, kind, at, size, random.randrange(1 << 30), other if kind == 'swap' else '')


def somewhere(content: bytes, random: Random) -> int:
    """Return where a file is to be damaged: in any page alike, and seldom where nothing stands."""
    if not content:
        return 0
    first = random.randrange(-(-len(content) // _PAGE)) * _PAGE
    page = content[first : first + _PAGE]
    some = [at for at, byte in enumerate(page) if byte] if random.random() < 0.9 else []
    return first + (random.choice(some) if some else random.randrange(len(page)))


# -- judging --------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """
    What became of a mutant.

    Attributes:
        outcome: 'refused', 'raises' (some calls do), 'unsound' (no call does, but `verify` complains) or 'right'.
        wrong: What must not be: answers that are not right, errors that are not docindex's, damage that nobody names.
        errors: What was raised, for the curious.
        short: Answers that say too little or too much, though each document in them is right: SQLite's pages have no
            checksums, so that is for `verify` to find.
    """

    outcome: str = 'right'
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)


class Judge:
    """Opens damaged copies and compares all that they say with what is known to be stored."""

    def __init__(self, originals: Path) -> None:
        self._path = originals
        self._originals = known_originals(originals)
        self._oracles = {name: original.oracle() for name, original in self._originals.items()}
        self._number = 0

    def judge(self, mutant: Mutant) -> Verdict:
        """Return the verdict on a mutant."""
        with tempfile.TemporaryDirectory(dir=self._path) as parent:
            directory = Path(parent) / 'index'
            shutil.copytree(self._path / mutant.original, directory)
            mutant.apply(directory)
            doc_type, oracle = self._originals[mutant.original].doc_type, self._oracles[mutant.original]
            verdict = Verdict()
            code, lines = check_command(directory, verdict)
            _judge(directory, doc_type, oracle, verdict)
            if (
                verdict.outcome in ('refused', 'raises')
                and code == 0
                and 'SchemaMismatchError' not in verdict.errors[0]
            ):
                verdict.wrong.append(f'the check says {lines!r}, but: {verdict.errors}')
            return verdict


def check_command(directory: Path, verdict: Verdict, *options: str) -> tuple[int, str]:
    """Call `docindex check` on a directory; note what is wrong with how it answers."""
    from typer.testing import CliRunner

    from docindex.cli import app

    result = CliRunner().invoke(app, ['check', str(directory), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        verdict.wrong.append(f'the check failed: {_lines_of(result.exception)}')
    elif result.exit_code not in (0, 1, 2):
        verdict.wrong.append(f'the check ended with {result.exit_code}')
    elif not result.output.strip():
        verdict.wrong.append('the check said nothing')
    elif (result.exit_code == 0) != ('read: sound' in result.output):
        verdict.wrong.append(f'the check ended with {result.exit_code} and said {result.output!r}')
    return result.exit_code, result.output


def _lines_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f'{Path(frame.filename).name}:{frame.lineno} {frame.name}' for frame in frames if 'docindex' in frame.filename
    ]
    return f'{type(error).__name__}: {error} in {" < ".join(reversed(ours[-4:]))}'


def _judge(directory: Path, doc_type: type[BaseDoc], oracle: Oracle, verdict: Verdict) -> None:
    try:
        index = HnswDocumentIndex[doc_type](work_dir=directory)  # type: ignore[valid-type]
    except DocIndexError as error:
        verdict.outcome = 'refused'
        verdict.errors.append(_lines_of(error))
        if str(directory) not in str(error):
            verdict.wrong.append(f'which file? {error}')
        return
    except Exception as error:
        verdict.wrong.append(f'opening failed: {_lines_of(error)}')
        return
    try:
        with index:
            raised = ask_everything(index, oracle, verdict)
            _check_report(index, raised, verdict)
            if verdict.outcome == 'right' and not verdict.wrong:
                _go_on(index, oracle, doc_type, verdict)
        if verdict.outcome == 'right' and not verdict.wrong:
            with HnswDocumentIndex[doc_type](work_dir=directory) as index:  # type: ignore[valid-type]
                later = Oracle(list(oracle.docs.values()), oracle.spaces)
                _changes(later, doc_type)
                if ask_everything(index, later, verdict) or verdict.short:
                    verdict.wrong.append(f'damaged by going on: {verdict.errors or verdict.short}')
    except Exception as error:
        verdict.wrong.append(f'failed: {_lines_of(error)}')


def ask_everything(index: Any, oracle: Oracle, verdict: Verdict) -> set[str]:
    """Ask an index all that can be asked; return of which documents it says that they are damaged ('' for all)."""
    raised = _ask_all(index, oracle, verdict)
    if any(isinstance(doc, Kit) for doc in oracle.docs.values()):
        for name in LISTS:
            raised |= _ask_all(_Within(index, name), oracle.within(name), verdict)
            raised |= _ask_across(index, oracle, name, verdict)
    if raised:
        verdict.outcome = 'raises'
    return raised


def _looked_at(answer: Any) -> Any:
    """Return an answer once all documents in it are made: what is damaged in their lists is noticed then."""
    if isinstance(answer, BaseModel):
        answer.model_dump()
    elif isinstance(answer, (list, tuple)):
        for each in answer:
            _looked_at(each)
    return answer


class _Within:
    """The documents in a list, taken anew for each call, which may fail."""

    def __init__(self, index: Any, name: str) -> None:
        self._index, self._name = index, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index.subindex(self._name), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.subindex(self._name))

    def __len__(self) -> int:
        return len(self._index.subindex(self._name))

    def __contains__(self, id_: str) -> bool:
        return id_ in self._index.subindex(self._name)

    def __getitem__(self, id_: str) -> Any:
        return self._index.subindex(self._name)[id_]


def _ask_across(index: Any, oracle: Oracle, name: str, verdict: Verdict) -> set[str]:
    """Ask for documents by what is in their lists, and the other way round."""
    steps, docs, children = name.split('__'), oracle.docs, oracle.within(name).docs
    expected: set[str]

    def ask(call: Callable[[], Any], stored: dict[str, Any], expected: set[str]) -> bool:
        try:
            answer = _looked_at(call())
        except CorruptIndexError as error:
            verdict.errors.append(f'across: {_lines_of(error)}')
            return True
        except Exception as error:
            verdict.wrong.append(f'across {name!r} failed: {_lines_of(error)}')
            return False
        if set(answer.id) != expected:
            verdict.short.append(f'across: {sorted(answer.id)}, not {sorted(expected)}')
        if not all(doc.id in stored and same(doc, stored[doc.id]) for doc in answer):
            verdict.wrong.append(f'across {name!r}: {str(answer)[:100]}')
        return False

    has_raised = False
    for title in ('1 of 1', '0 of 2', 'New', 'nowhere'):
        filter_ = {f'{name}__title': title}
        expected = {id_ for id_, doc in docs.items() if any(each.title == title for each in inside(doc, steps))}
        has_raised |= ask(lambda filter_=filter_: index.filter(filter_, limit=None), docs, expected)  # type: ignore[misc]
    for number in (5, 9, 22):
        expected = {each.id for doc in docs.values() if doc.number == number for each in inside(doc, steps)}
        root = {'number': number}
        has_raised |= ask(
            lambda root=root: index.filter_subindex({}, name, limit=None, root_filter=root),  # type: ignore[misc]
            children,
            expected,
        )
    (field,) = LISTS[name]
    has_raised |= ask(
        lambda: index.find([1.0] * 4, f'{name}__{field}', limit=99, group_by_root=True).documents,
        docs,
        {id_ for id_, doc in docs.items() if any(getattr(each, field) is not None for each in inside(doc, steps))},
    )
    return {''} if has_raised else set()


def _ask_all(index: Any, oracle: Oracle, verdict: Verdict) -> set[str]:
    raised: set[str] = set()

    def ask(about: str, call: Callable[[], Any], check: Callable[[Any], bool | None]) -> bool:
        try:
            answer = _looked_at(call())
        except (CorruptIndexError, OSError) as error:
            raised.add(about)
            verdict.errors.append(f'{about}: {_lines_of(error)}')
            if not isinstance(error, DocIndexError):
                verdict.wrong.append(f'{about!r} failed: {_lines_of(error)}')
            return False
        except DocumentNotFoundError as error:
            verdict.wrong.append(f'silently lost: {error}')
            return True
        except Exception as error:
            verdict.wrong.append(f'{about!r} failed: {_lines_of(error)}')
            return True
        try:
            if check(answer) is False:
                verdict.wrong.append(f'asked for {about!r}, got {str(answer)[:100]}')
        except AssertionError as error:
            verdict.wrong.append(f'asked for {about!r}: {str(error)[:100]}')
        return True

    docs = oracle.docs
    ask('', lambda: list(index), lambda ids: sorted(ids) == sorted(docs))
    ask('', lambda: len(index), lambda count: count == len(docs))
    for id_ in ('thing 2', 'thing 1000', ''):
        ask('', lambda id_=id_: id_ in index, lambda is_in, id_=id_: is_in == (id_ in docs))
    for id_, doc in docs.items():
        ask(id_, lambda id_=id_: index[id_], lambda found, doc=doc: same(found, doc))
        ask(id_, lambda id_=id_: id_ in index, lambda is_in: is_in is True)
    for name in oracle.spaces:
        found = [vector for id_ in docs if (vector := oracle.vector(id_, name)) is not None]
        queries = np.stack(found).astype(np.float32)
        for exact in (False, True):

            def right(answer: Any, queries: Any = queries, name: str = name) -> None:
                for query, found, scores in zip(queries, answer.documents, answer.scores, strict=True):
                    oracle.check(_Answer(found, scores), query, name, LIMIT)

            how = {'search_field': name, 'limit': LIMIT, 'exact': exact, 'ef': 300}
            if not ask('', lambda how=how, queries=queries: index.find_batched(queries, **how), right):
                for query in queries[::3]:
                    ask(
                        '',
                        lambda how=how, query=query: index.find(query, **how),
                        lambda answer, query=query, name=name: oracle.check(answer, query, name, LIMIT),
                    )
    for filter_, is_match in _filters(docs):
        expected = {id_ for id_, doc in docs.items() if is_match(doc)}

        def match(answer: Any, expected: set[str] = expected, is_match: Callable[[Any], bool] = is_match) -> bool:
            if {doc.id for doc in answer} != expected:
                verdict.short.append(f'{sorted(answer.id)}, not {sorted(expected)}')
            return len(set(answer.id)) == len(answer) and all(
                same(doc, docs[doc.id]) and is_match(doc) for doc in answer
            )

        for sort in ('', 'number'):
            ask('', lambda filter_=filter_, sort=sort: index.filter(filter_, limit=None, sort=sort), match)
        for name in oracle.spaces:

            def near(answer: Any, match: Any = match, expected: set[str] = expected, name: str = name) -> bool:
                return bool(match(answer.documents, {id_ for id_ in expected if oracle.vector(id_, name) is not None}))

            ask('', lambda filter_=filter_, name=name: index.find([1.0] * 4, name, 99, filter=filter_), near)
    for word in ('of', '1', '400', 'Eight', 'nowhere'):
        expected = {id_ for id_, doc in docs.items() if word.lower() in words_of(doc.title)}

        def said(answer: Any, expected: set[str] = expected) -> bool:
            if set(answer.id) != expected:
                verdict.short.append(f'{sorted(answer.id)}, not {sorted(expected)}')
            return all(same(doc, docs[doc.id]) for doc in answer)

        ask('', lambda word=word: index.text_search(word, 'title', limit=99).documents, said)
    return raised


def _filters(docs: dict[str, Any]) -> list[tuple[dict[str, Any], Callable[[Any], bool]]]:
    """Return filters, by index and without, with what they mean."""
    title = next(iter(docs.values())).title
    return [
        ({'number': {'$lt': 9}}, lambda doc: doc.number < 9),
        ({'title': title}, lambda doc: doc.title == title),
        ({'title': {'$contains': '1'}}, lambda doc: '1' in doc.title),
        ({'$not': {'number': 3}}, lambda doc: doc.number != 3),
    ]


class _Answer:
    """One of several answers."""

    def __init__(self, documents: Any, scores: Any) -> None:
        self.documents, self.scores = documents, scores


def _check_report(index: Any, raised: set[str], verdict: Verdict) -> None:
    try:
        report = index.verify()
    except Exception as error:
        verdict.wrong.append(f'verify failed: {_lines_of(error)}')
        return
    if not report.is_sound and verdict.outcome == 'right':
        verdict.outcome = 'unsound'
    problems = [problem for problem in report.problems if not problem.is_mended]
    if (raised or verdict.short) and not problems:
        verdict.wrong.append(f'verify finds nothing, but: {verdict.errors or verdict.short}')
    if any(problem.id is None for problem in problems):  # about a file
        return
    named = [problem.id or '' for problem in problems]
    unnamed = {id_ for id_ in raised - {''} if not any(name == id_ or name.startswith(f'{id_} ') for name in named)}
    if unnamed:
        verdict.wrong.append(f'verify does not name {unnamed}, but: {report}')


def _changes(store: Any, doc_type: type[BaseDoc]) -> None:
    store.index([*_some(doc_type, range(100, 104), 9), *_some(doc_type, range(1, 3), 10)])
    store.delete(['thing 10', 'thing 102'])
    if doc_type is Kit:
        _change_lists(store, 'thing 101', 9)


def _go_on(index: Any, oracle: Oracle, doc_type: type[BaseDoc], verdict: Verdict) -> None:
    """Write to an index in which nothing seems to be wrong: it has to take it."""
    later = Oracle(list(oracle.docs.values()), oracle.spaces)
    _changes(later, doc_type)
    _changes(index, doc_type)
    if ask_everything(index, later, verdict) or verdict.short:
        verdict.wrong.append(f'damaged by a write: {verdict.errors or verdict.short}')


def main(originals: Path) -> None:
    logging.disable(logging.CRITICAL)
    judge = Judge(originals)
    for number, line in enumerate(sys.stdin):
        print(number, flush=True)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        verdict = judge.judge(Mutant(**json.loads(line)))
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(asdict(verdict)), flush=True)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
