"""Ctrl-C at any moment: the state before or the state after, here and reopened, and the next write works."""

from __future__ import annotations

import gc
import itertools
import shutil
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import docindex.hnsw
from docindex import BaseDoc, CorruptIndexError, DocIndexError, Field, HnswDocumentIndex, NdArray, _files
from docindex.hnsw import opening, sharing, upkeep
from docindex.hnsw.following import Following
from docindex.hnsw.graph import Graph
from docindex.hnsw.graphs import GraphCache
from docindex.hnsw.labels import LabelTable
from docindex.hnsw.rows import Rows
from docindex.hnsw.settings import SettingsRecord
from docindex.hnsw.sidecar import Sidecar
from docindex.hnsw.state import State, View
from docindex.hnsw.store import Store
from docindex.hnsw.transaction import Transaction, _Ends
from docindex.hnsw.twins import Twins
from docindex.hnsw.vectors import VectorFile
from docindex.hnsw.workdir import WorkDir
from docindex.locks import SharedLock
from tests.signals import Signal


class Note(BaseDoc):
    text: str
    # With one thread, for with several each graph is another one, and so is the number of steps.
    embedding: NdArray[8] = Field(num_threads=1)
    other: NdArray[4] | None = Field(default=None, space='cosine', num_threads=1)


Notes = HnswDocumentIndex[Note]
Documents = dict[str, Note]


def notes(ids: range, seed: int = 0) -> list[Note]:
    """Return notes of which every third has a vector that others have too, and every fourth no `other`."""
    rng = np.random.default_rng([seed, ids.start])
    same = rng.normal(size=8)
    return [
        Note(
            id=f'n{at}',
            text=f'note {at} of {seed}',
            embedding=rng.normal(size=8) if at % 3 else same,
            other=rng.normal(size=4) if at % 4 else None,
        )
        for at in ids
    ]


def state(index: HnswDocumentIndex[Note]) -> Documents:
    return {id_: index[id_] for id_ in index}


def by_id(docs: list[Note]) -> Documents:
    return {doc.id: doc for doc in docs}


@pytest.fixture(autouse=True)
def left_open() -> Iterator[None]:
    """Let go of connections that an interrupt of their own closing left open, before a later test is blamed."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        gc.collect()


@pytest.fixture(scope='module')
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with 40 notes, the dead of 10 replaced and 5 deleted ones, and saved graphs."""
    path = tmp_path_factory.mktemp('prepared') / 'work'
    with Notes(work_dir=path) as index:
        index.index(notes(range(45)))
        index.index(notes(range(10), seed=1))
        index.delete([f'n{at}' for at in range(40, 45)])
    return path


@pytest.fixture
def opened(prepared: Path, tmp_path: Path) -> Iterator[HnswDocumentIndex[Note]]:
    shutil.copytree(prepared, tmp_path / 'work')
    with Notes(work_dir=tmp_path / 'work') as index:
        yield index


@dataclass(frozen=True)
class Verb:
    """Something that is done to the prepared index, and what it makes of the documents."""

    run: Callable[[HnswDocumentIndex[Note]], object]
    after: Callable[[Documents], Documents] = dict


def write_a_batch(index: HnswDocumentIndex[Note]) -> None:
    with index.batch():
        index.index(notes(range(35, 60), seed=2))
        index.delete([f'n{at}' for at in range(10)])
        index.update(notes(range(12, 40), seed=3))


VERBS = {
    'index': Verb(
        lambda index: index.index(notes(range(35, 60), seed=2)),
        lambda before: before | by_id(notes(range(35, 60), seed=2)),
    ),
    'update': Verb(
        lambda index: index.update(notes(range(5, 20), seed=3)),
        lambda before: before | by_id(notes(range(5, 20), seed=3)),
    ),
    'update one': Verb(
        lambda index: index.update('n7', text='new'),
        lambda before: before | {'n7': before['n7'].model_copy(update={'text': 'new'})},
    ),
    'delete': Verb(
        lambda index: index.delete([f'n{at}' for at in range(0, 30, 2)]),
        lambda before: {id_: note for id_, note in before.items() if int(id_[1:]) >= 30 or int(id_[1:]) % 2},
    ),
    'batch': Verb(
        lambda index: write_a_batch(index),
        lambda before: (
            {id_: note for id_, note in before.items() if int(id_[1:]) >= 10}
            | by_id(notes(range(35, 60), seed=2))
            | by_id(notes(range(12, 40), seed=3))
        ),
    ),
    'compact': Verb(lambda index: index.compact()),
    'configure': Verb(lambda index: index.configure(search_field='embedding', ef=99)),
    'save_graphs': Verb(lambda index: (index._store.state.graphs._snapshots.clear(), index.save_graphs())),
}


def interrupted(function: Callable[..., Any], moment: str, at: int) -> Callable[..., Any]:
    """Return `function`, which the `at`-th time is interrupted before it began or after it ended."""
    count = itertools.count(1)

    def interrupting(*args: Any, **kwargs: Any) -> Any:
        is_now = next(count) == at
        if is_now and moment == 'before':
            raise KeyboardInterrupt
        result = function(*args, **kwargs)
        if is_now:
            raise KeyboardInterrupt
        return result

    return interrupting


def check_answers(index: HnswDocumentIndex[Note], docs: Documents) -> None:
    """Check that by id, by search and by exact search, an index holds just these documents, each once."""
    assert len(index) == len(docs)
    assert state(index) == docs
    for field, query in (('embedding', np.ones(8)), ('other', np.ones(4))):
        ids = sorted(id_ for id_, note in docs.items() if getattr(note, field) is not None)
        for limit in (1000, 5):
            found, exact = (index.find(query, field, limit=limit, exact=exact) for exact in (False, True))
            assert len(set(found.documents.id)) == len(found.documents) == min(limit, len(ids))
            assert all(doc == docs[doc.id] for doc in (*found.documents, *exact.documents))
            np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-4, atol=1e-5)
            if limit > len(ids):
                assert sorted(found.documents.id) == sorted(exact.documents.id) == ids


def check_whole(index: HnswDocumentIndex[Note], before: Documents, after: Documents, aside: Path) -> None:
    """Check that an interrupted index is whole: at once, copied and reopened, after the next writes, and closed."""
    held = state(index)
    assert held in (before, after)
    check_answers(index, held)
    shutil.copytree(index.work_dir, aside)
    with Notes(work_dir=aside) as copy:
        check_answers(copy, held)
    more = notes(range(70, 75), seed=4)
    index.index(more)
    del index['n31']
    expected = {id_: note for id_, note in (held | by_id(more)).items() if id_ != 'n31'}
    check_answers(index, expected)
    assert index.verify().problems == []
    work_dir = index.work_dir
    index.close()
    with Notes(work_dir=work_dir) as reopened:
        check_answers(reopened, expected)
        assert reopened.verify().problems == []


POINTS: list[tuple[str, Any, str, int]] = [
    ('index', Following, 'follow', 1),
    ('index', Sidecar, 'begin', 1),
    ('index', Transaction, 'put', 1),
    ('index', Transaction, '_plan', 1),
    ('index', Transaction, '_put_all', 1),
    ('index', Transaction, '_put', 1),
    ('index', _Ends, 'note', 1),
    ('index', VectorFile, 'write', 1),
    ('index', VectorFile, 'write', 2),
    ('index', _files, 'write_at', 1),
    ('index', Transaction, '_stage', 1),
    ('index', Sidecar, 'apply', 1),
    ('index', Store, '_commit', 1),
    ('index', Transaction, 'secure', 1),
    ('index', VectorFile, 'copies', 2),
    ('index', _files, 'read_at', 1),
    ('index', Sidecar, 'keep_unsynced', 1),
    ('index', Following, 'publishing', 1),
    ('index', Sidecar, 'commit', 1),
    ('index', State, 'publish', 1),
    ('index', LabelTable, 'publish', 1),
    ('index', GraphCache, 'bury', 1),
    ('index', Graph, 'bury', 1),
    ('index', Graph, 'bury', 4),
    ('index', State, 'acknowledge', 1),
    ('index', VectorFile, 'acknowledge', 1),
    ('index', VectorFile, 'acknowledge', 2),
    ('index', Sidecar, 'roll_back', 1),
    ('index', Store, '_settle', 1),
    ('index', GraphCache, 'catch_up', 1),
    ('index', GraphCache, '_add_missing', 1),
    ('index', Graph, 'add', 1),
    ('index', Graph, 'add', 2),
    ('index', Graph, '_put', 1),
    ('index', Twins, 'nodes', 1),
    ('index', Twins, 'join', 1),
    ('index', GraphCache, 'save_if_worthwhile', 1),
    ('index', upkeep, 'is_worthwhile', 1),
    ('update', VectorFile, 'write', 2),
    ('update', Sidecar, 'apply', 1),
    ('update', Sidecar, 'commit', 1),
    ('update', LabelTable, 'publish', 1),
    ('update', Graph, 'bury', 2),
    ('update', Graph, 'add', 1),
    ('update', Graph, '_put', 2),
    ('update', GraphCache, 'catch_up', 1),
    ('update one', Sidecar, 'apply', 1),
    ('update one', Sidecar, 'commit', 1),
    ('update one', LabelTable, 'publish', 1),
    ('update one', GraphCache, 'catch_up', 1),
    ('delete', Sidecar, 'begin', 1),
    ('delete', Transaction, 'remove', 1),
    ('delete', Transaction, '_stage', 1),
    ('delete', Sidecar, 'apply', 1),
    ('delete', Sidecar, 'commit', 1),
    ('delete', State, 'publish', 1),
    ('delete', LabelTable, 'publish', 1),
    ('delete', GraphCache, 'bury', 1),
    ('delete', Graph, 'bury', 1),
    ('delete', Graph, 'bury', 20),
    ('delete', Twins, 'leave', 3),
    ('delete', VectorFile, 'acknowledge', 1),
    ('delete', Sidecar, 'roll_back', 1),
    ('batch', Sidecar, 'begin', 1),
    ('batch', Transaction, 'put', 1),
    ('batch', Transaction, 'put', 2),
    ('batch', Transaction, 'remove', 1),
    ('batch', Transaction, 'view', 1),
    ('batch', VectorFile, 'write', 3),
    ('batch', LabelTable, 'copy', 1),
    ('batch', Transaction, '_stage', 2),
    ('batch', Sidecar, 'apply', 1),
    ('batch', Sidecar, 'apply', 3),
    ('batch', Transaction, 'secure', 1),
    ('batch', Sidecar, 'commit', 1),
    ('batch', LabelTable, 'publish', 1),
    ('batch', LabelTable, 'publish', 3),
    ('batch', LabelTable, 'publish', 4),
    ('batch', State, 'publish', 1),
    ('batch', Graph, 'bury', 15),
    ('batch', Sidecar, 'roll_back', 1),
    ('batch', Store, '_settle', 1),
    ('compact', upkeep, 'next_generation', 1),
    ('compact', VectorFile, 'create', 2),
    ('compact', VectorFile, 'write', 1),
    ('compact', VectorFile, 'sync', 2),
    ('compact', _files, 'publish', 1),
    ('compact', GraphCache, 'build', 1),
    ('compact', Graph, 'add', 2),
    ('compact', upkeep, 'mend_all', 1),
    ('compact', GraphCache, 'write_all', 1),
    ('compact', Graph, 'save', 1),
    ('compact', Graph, 'save', 2),
    ('compact', _files, 'publish', 4),
    ('compact', _files, 'checksum', 2),
    ('compact', Following, 'publishing', 1),
    ('compact', Sidecar, 'renumber', 1),
    ('compact', State, 'close', 1),
    ('compact', VectorFile, 'close', 1),
    ('compact', State, 'acknowledge', 1),
    ('compact', Store, '_sweep', 1),
    ('compact', _files, 'remove', 1),
    ('compact', Sidecar, 'vacuum', 1),
    ('configure', Following, 'publishing', 1),
    ('configure', GraphCache, 'reserve', 1),
    ('configure', SettingsRecord, 'put', 1),
    ('configure', Sidecar, 'set_meta', 1),
    ('configure', GraphCache, 'put_settings', 1),
    ('configure', State, 'acknowledge', 1),
    ('save_graphs', GraphCache, 'catch_up', 1),
    ('save_graphs', Graph, 'save', 1),
    ('save_graphs', Graph, 'save', 2),
    ('save_graphs', _files, 'publish', 1),
    ('save_graphs', _files, 'checksum', 2),
    ('save_graphs', Sidecar, 'record', 1),
    ('save_graphs', Sidecar, 'record', 2),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('verb', 'owner', 'name', 'at'),
    POINTS,
    ids=[f'{verb}-{owner.__name__.rpartition(".")[2]}.{name}-{at}' for verb, owner, name, at in POINTS],
)
def test_an_interrupt_leaves_one_state_or_the_other(
    opened: HnswDocumentIndex[Note],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    owner: Any,
    name: str,
    at: int,
    moment: str,
) -> None:
    """I1, I7: Ctrl-C before or after a step leaves all of a call or nothing, by id and by search, now and reopened."""
    before = state(opened)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
        with pytest.raises(KeyboardInterrupt):
            VERBS[verb].run(opened)
    check_whole(opened, before, VERBS[verb].after(before), tmp_path / 'aside')


@pytest.mark.parametrize(
    ('step', 'moment', 'is_done'),
    [
        ('apply', 'before', False),
        ('apply', 'after', False),
        ('commit', 'before', False),
        ('commit', 'after', True),
        ('roll_back', 'before', True),
    ],
)
@pytest.mark.parametrize('verb', ['index', 'update', 'delete', 'batch'])
def test_an_interrupt_before_the_commit_has_done_nothing(
    opened: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch, verb: str, step: str, moment: str, is_done: bool
) -> None:
    """I1: what was interrupted before SQLite committed is not there; what was after it, is."""
    before = state(opened)
    with monkeypatch.context() as patch:
        patch.setattr(Sidecar, step, interrupted(getattr(Sidecar, step), moment, 1))
        with pytest.raises(KeyboardInterrupt):
            VERBS[verb].run(opened)
    assert state(opened) == (VERBS[verb].after(before) if is_done else before)


FOLLOWING: list[tuple[Any, str]] = [
    (Sidecar, 'commits'),
    (Following, '_follow'),
    (Following, '_read'),
    (State, 'read'),
    (Rows, 'meta'),
    (Rows, 'tombstones'),
    (VectorFile, '_check_header'),
    (GraphCache, 'load'),
    (Graph, 'load'),
    (State, 'close'),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(('owner', 'name'), FOLLOWING, ids=[f'{owner.__name__}.{name}' for owner, name in FOLLOWING])
@pytest.mark.parametrize('verb', ['index', 'delete', 'compact'])
def test_a_second_interrupt_is_made_good_by_the_next_write(
    opened: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch, verb: str, owner: Any, name: str, moment: str
) -> None:
    """I3: Ctrl-C just after a commit, and again while memory is brought up to it, harms no write after that."""
    before = state(opened)
    with monkeypatch.context() as patch:
        step = 'renumber' if verb == 'compact' else 'commit'
        commit = getattr(Sidecar, step)

        def interrupting(*given: Any) -> None:
            commit(*given)
            patch.setattr(owner, name, interrupted(getattr(owner, name), moment, 1))
            raise KeyboardInterrupt

        patch.setattr(Sidecar, step, interrupting)
        with pytest.raises(KeyboardInterrupt):
            VERBS[verb].run(opened)
    more = notes(range(70, 75), seed=4)
    opened.index(more)
    check_answers(opened, VERBS[verb].after(before) | by_id(more))
    assert opened.verify().problems == []
    opened.close()
    with Notes(work_dir=opened.work_dir) as reopened:
        check_answers(reopened, VERBS[verb].after(before) | by_id(more))


def test_a_deletion_after_an_interrupted_addition(
    opened: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I4: documents that an interrupt left half in a graph, and that are deleted then, are not found again."""
    before = state(opened)
    with monkeypatch.context() as patch:
        patch.setattr(Graph, 'add', interrupted(Graph.add, 'after', 1))
        with pytest.raises(KeyboardInterrupt):
            VERBS['index'].run(opened)
    opened.delete([f'n{at}' for at in range(35, 60)])
    opened.index(notes(range(80, 82)))
    expected = {id_: note for id_, note in before.items() if int(id_[1:]) < 35} | by_id(notes(range(80, 82)))
    check_answers(opened, expected)
    assert opened.verify().problems == []


# Not WorkDir.release: an interrupt in the very last step cannot be helped.
CLOSING: list[tuple[Any, str]] = [
    (GraphCache, 'catch_up'),
    (GraphCache, 'save'),
    (Graph, 'save'),
    (_files, 'publish'),
    (Sidecar, 'record'),
    (_files, 'remove'),
    (Store, '_turn_away'),
    (Store, '_close_state'),
    (State, 'close'),
    (VectorFile, 'close'),
    (Sidecar, 'close'),
    (Rows, 'close'),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(('owner', 'name'), CLOSING, ids=[f'{owner.__name__}.{name}' for owner, name in CLOSING])
def test_an_interrupted_close_lets_go(
    opened: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, moment: str
) -> None:
    """Ctrl-C while closing loses nothing, and this process can open the directory again at once."""
    opened.index(notes(range(90, 95)))
    expected = state(opened)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, 1))
        with pytest.raises(KeyboardInterrupt):
            opened.close()
    opened.close()
    with Notes(work_dir=opened.work_dir) as reopened:
        check_answers(reopened, expected)
        reopened.index(notes(range(95, 97)))
        assert reopened.verify().problems == []


OPENING: list[tuple[Any, str]] = [
    (WorkDir, '_refuse_docarray'),
    (Store, '_prepare'),
    (opening, 'carry_over'),
    (opening, 'put_declared'),
    (Sidecar, 'take'),
    (Rows, 'hold'),
    (State, 'read'),
    (Rows, 'meta'),
    (Rows, 'tombstones'),
    (Rows, 'absences'),
    (VectorFile, '_check_header'),
    (GraphCache, 'load'),
    (Graph, 'load'),
    (Rows, 'let_go'),
    (Sidecar, 'give_back'),
    (Store, '_note_whether_synced'),
    (Store, '_sweep'),
    (GraphCache, 'catch_up'),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('owner', 'name'), OPENING, ids=[f'{owner.__name__.rpartition(".")[2]}.{name}' for owner, name in OPENING]
)
def test_an_interrupted_opening_lets_go(
    opened: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, moment: str
) -> None:
    """Ctrl-C while opening leaves nothing locked: the next opening, in this process, finds everything."""
    expected = state(opened)
    opened.close()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, 1))
        with pytest.raises(KeyboardInterrupt):
            Notes(work_dir=opened.work_dir)
    with Notes(work_dir=opened.work_dir) as reopened:
        check_answers(reopened, expected)


class Interrupter:
    """Raises at the n-th time that a function of `docindex.hnsw` begins or ends, where Python looks for signals."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self._directory = str(Path(docindex.hnsw.__file__).parent)

    def __enter__(self) -> None:
        sys.settrace(self._trace)

    def __exit__(self, *exception: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: Any, event: str, arg: object) -> Any:
        file = frame.f_code.co_filename
        # Not in the lock itself: raised between taking it and noting that, this would be a test of Python.
        is_lock = file.endswith('locks.py') or frame.f_code.co_qualname.startswith('_Reading.')
        if not file.startswith(self._directory) or is_lock:
            return None
        frame.f_trace_lines = False
        if event in ('call', 'return'):
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
        return self._trace


def steps_of(verb: str, prepared: Path, path: Path) -> int:
    """Return at how many moments a call can be interrupted."""
    shutil.copytree(prepared, path)
    with Notes(work_dir=path) as index:
        state(index)  # as before each of them: what has been read once takes fewer steps
        counter = Interrupter(-1)
        with counter:
            VERBS[verb].run(index)
        return counter.count


@pytest.mark.parametrize('part', range(8))
@pytest.mark.parametrize('verb', ['index', 'delete', 'compact'])
def test_an_interrupt_anywhere_leaves_one_state_or_the_other(
    prepared: Path, tmp_path: Path, verb: str, part: int
) -> None:
    """I1, I7: the same at moments all over a call, wherever a function begins or ends."""
    steps = steps_of(verb, prepared, tmp_path / 'counted')
    # How many there are differs by a few from run to run.
    moments = np.linspace(1, steps - 5, 24).astype(int)[part::8].tolist()
    for at in moments:
        shutil.copytree(prepared, tmp_path / str(at))
        with Notes(work_dir=tmp_path / str(at)) as index:
            before = state(index)
            with pytest.raises(KeyboardInterrupt), Interrupter(at):
                VERBS[verb].run(index)
            check_whole(index, before, VERBS[verb].after(before), tmp_path / f'{at} aside')


def test_an_interrupted_search_leaves_no_lock(opened: HnswDocumentIndex[Note]) -> None:
    """Wherever Ctrl-C comes in a search, the next search with another `ef` and the next write go on."""

    def check() -> None:
        for at in itertools.count():
            signal = Signal(at, 'docindex.hnsw')
            with suppress(KeyboardInterrupt), signal:
                opened.find(np.ones(8), 'embedding', limit=3)
            assert len(opened.find(np.ones(8), 'embedding', limit=3, ef=at + 10).documents) == 3
            opened.update('n31', text=f'after {at}')
            if not signal.has_come:
                break
        assert at > 100

    in_time(opened, check)


def test_an_interrupted_batch_is_over(opened: HnswDocumentIndex[Note]) -> None:
    """Wherever Ctrl-C comes as a batch begins or ends, all of it is stored or nothing, and what is written next is."""
    with Notes(work_dir=opened.work_dir, read_only=True) as reader:
        for at in itertools.count():
            signal = Signal(at, 'docindex.hnsw.store', 'docindex.hnsw.batches', 'contextlib')
            batch = opened.batch()
            with suppress(KeyboardInterrupt), signal, batch:
                opened.update({id_: {'text': f'batch {at}'} for id_ in ('n11', 'n12')})
            del batch
            assert len({reader[id_].text == f'batch {at}' for id_ in ('n11', 'n12')}) == 1
            opened.update('n31', text=f'after {at}')
            assert state(reader) == state(opened)
            assert reader['n31'].text == f'after {at}'
            if not signal.has_come:
                break
    assert at > 100


# -- beside other processes ----------------------------------------------------------------------


def in_time(index: HnswDocumentIndex[Note], check: Callable[[], object]) -> None:
    """Fail, rather than wait for ever, if `check` waits for a lock that an interrupt has left taken."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            check()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    if thread.is_alive():
        index._release.detach()  # to close it would wait, too
        pytest.fail('an interrupt has left a lock taken')
    if failed:
        raise failed[0]


READING: list[tuple[str, Any, str, int]] = [
    ('index', Sidecar, 'take', 1),
    ('index', Rows, 'hold', 1),
    ('index', Following, 'is_current', 1),
    ('index', Rows, 'let_go', 1),
    ('index', Rows, 'hold', 2),
    ('index', Following, '_follow', 1),
    ('index', Following, '_step', 1),
    ('index', State, 'follow', 1),
    ('index', Rows, 'tombstones', 1),
    ('index', Rows, 'absences', 1),
    ('index', State, 'publish', 1),
    ('index', LabelTable, 'publish', 1),
    ('index', GraphCache, 'bury', 1),
    ('index', Graph, 'bury', 3),
    ('index', SettingsRecord, 'remember', 1),
    ('index', GraphCache, 'notice', 1),
    ('index', GraphCache, 'step', 1),
    ('index', Graph, 'add', 1),
    ('index', Graph, 'add', 2),
    ('index', Twins, 'join', 1),
    ('index', SharedLock, 'downgrade', 1),
    ('index', View, '__init__', 1),
    ('index', Sidecar, 'give_back', 1),
    ('update', LabelTable, 'publish', 1),
    ('update', Graph, 'bury', 2),
    ('delete', State, 'follow', 1),
    ('delete', LabelTable, 'publish', 1),
    ('delete', Twins, 'leave', 3),
    ('batch', State, 'follow', 1),
    ('batch', LabelTable, 'publish', 1),
    ('batch', Graph, 'bury', 20),
    ('configure', State, 'follow', 1),
    ('configure', GraphCache, 'put_settings', 1),
    ('compact', State, 'follow', 1),
    ('compact', State, 'read', 1),
    ('compact', VectorFile, '_check_header', 2),
    ('compact', GraphCache, 'load', 1),
    ('compact', Graph, 'load', 2),
    ('compact', State, 'close', 1),
    ('compact', VectorFile, 'close', 1),
    ('compact', SharedLock, 'downgrade', 1),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('verb', 'owner', 'name', 'at'),
    READING,
    ids=[f'{verb}-{owner.__name__}.{name}-{at}' for verb, owner, name, at in READING],
)
def test_an_interrupted_reader_follows(
    opened: HnswDocumentIndex[Note],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    owner: Any,
    name: str,
    at: int,
    moment: str,
) -> None:
    """I9: Ctrl-C while a reader takes over what another process has committed leaves one that sees all of it."""
    reader = Notes(work_dir=opened.work_dir, read_only=True)
    VERBS[verb].run(opened)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
        with pytest.raises(KeyboardInterrupt):
            reader.find(np.ones(8), 'embedding')
    for seed in (5, 6):
        in_time(reader, lambda: check_answers(reader, state(opened)))
        opened.index(notes(range(20, 80, 3), seed=seed))
        opened.delete([f'n{at}' for at in range(seed, 30, 4)])
    in_time(reader, lambda: check_answers(reader, state(opened)))
    in_time(reader, reader.close)


class Elsewhere:
    """A second index of one directory in this process, with a store of its own, as if it were another process."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._patches: list[Any] = [
            mock.patch.object(sharing, '_stores', {}),
            mock.patch.object(sharing, '_handles', Counter[Store]()),
        ]
        with self:
            self.index = Notes(work_dir=path, **options)

    def __enter__(self) -> None:
        for patch in self._patches:
            patch.start()

    def __exit__(self, *exception: object) -> None:
        for patch in self._patches:
            patch.stop()

    def close(self) -> None:
        with self:
            self.index.close()


SHARING: list[tuple[str, Any, str, int]] = [
    ('index', WorkDir, 'held', 1),
    ('index', Following, 'follow', 1),
    ('index', Following, '_follow', 1),
    ('index', State, 'follow', 1),
    ('index', LabelTable, 'publish', 1),
    ('index', GraphCache, 'notice', 1),
    ('index', Sidecar, 'begin', 1),
    ('index', Transaction, 'put', 1),
    ('index', Sidecar, 'apply', 1),
    ('index', Sidecar, 'commit', 1),
    ('index', State, 'publish', 2),
    ('index', LabelTable, 'publish', 2),
    ('index', State, 'acknowledge', 1),
    ('index', Sidecar, 'roll_back', 1),
    ('index', GraphCache, 'catch_up', 1),
    ('index', Graph, 'add', 1),
    ('delete', Following, '_follow', 1),
    ('delete', State, 'follow', 1),
    ('delete', SharedLock, 'downgrade', 1),
    ('delete', Sidecar, 'apply', 1),
    ('delete', Sidecar, 'commit', 1),
    ('batch', Following, '_follow', 1),
    ('batch', Sidecar, 'begin', 1),
    ('batch', Sidecar, 'apply', 2),
    ('batch', Sidecar, 'commit', 1),
    ('batch', State, 'publish', 2),
    ('compact', Following, '_follow', 1),
    ('compact', upkeep, 'next_generation', 1),
    ('compact', Sidecar, 'renumber', 1),
    ('compact', State, 'close', 1),
    ('compact', Sidecar, 'vacuum', 1),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('verb', 'owner', 'name', 'at'),
    SHARING,
    ids=[f'{verb}-{owner.__name__.rpartition(".")[2]}.{name}-{at}' for verb, owner, name, at in SHARING],
)
def test_an_interrupted_writer_leaves_the_directory_to_others(
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    owner: Any,
    name: str,
    at: int,
    moment: str,
) -> None:
    """I1, I9: Ctrl-C in one of two processes that write in turn leaves all of its call or nothing, and no lock."""
    shutil.copytree(prepared, tmp_path / 'work')
    here = Notes(work_dir=tmp_path / 'work', shared_writes=True, lock_timeout=2)
    other = Elsewhere(tmp_path / 'work', shared_writes=True, lock_timeout=2)
    other.index.index(notes(range(30, 50), seed=7))
    before = state(other.index)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
        with pytest.raises(KeyboardInterrupt):
            VERBS[verb].run(here)

    def check_other() -> None:
        held = state(other.index)
        assert held in (before, VERBS[verb].after(before))
        other.index.index(notes(range(70, 75), seed=4))
        check_answers(other.index, held | by_id(notes(range(70, 75), seed=4)))

    in_time(other.index, check_other)
    for writer, reader in ((here, other.index), (other.index, here)):
        in_time(writer, lambda writer=writer: writer.index(notes(range(25, 40), seed=8)))  # type: ignore[misc]
        in_time(writer, lambda writer=writer: writer.delete([f'n{at}' for at in range(28, 33)]))  # type: ignore[misc]
        in_time(reader, lambda writer=writer, reader=reader: check_answers(reader, state(writer)))  # type: ignore[misc]
    in_time(here, lambda: check_sound(here))
    in_time(here, here.close)
    other.close()


def check_sound(index: HnswDocumentIndex[Note]) -> None:
    assert index.verify().problems == []


# -- the write-ahead log -------------------------------------------------------------------------


def copied(index: HnswDocumentIndex[Any], path: Path) -> Path:
    """Copy a work directory that is open, with commits that are in the write-ahead log only."""
    log = index.work_dir / 'documents.sqlite3-wal'
    assert log.stat().st_size > 0
    shutil.copytree(index.work_dir, path)
    return path


def test_a_copy_with_its_log_is_complete(opened: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """A directory copied while it is open, and not written to, has everything that was committed."""
    VERBS['index'].run(opened)
    VERBS['delete'].run(opened)
    path = copied(opened, tmp_path / 'copy')
    with Notes(work_dir=path) as copy:
        check_answers(copy, state(opened))
        assert copy.verify().problems == []


@pytest.mark.parametrize('verb', ['index', 'update', 'update one', 'delete', 'compact'])
def test_a_lost_log_is_noticed(opened: HnswDocumentIndex[Note], tmp_path: Path, verb: str) -> None:
    """I1: a directory that has lost the commits in its write-ahead log is not opened as if they had never been."""
    VERBS['index'].run(opened)
    if verb == 'compact':
        VERBS['delete'].run(opened)  # a compaction empties the log
        opened.compact()
    VERBS[verb if verb != 'compact' else 'update one'].run(opened)
    path = copied(opened, tmp_path / 'copy')
    (path / 'documents.sqlite3-wal').unlink()
    with pytest.raises(CorruptIndexError, match=r'this file has lost \d+ of \d+ commits.*"-wal" file belong together'):
        Notes(work_dir=path)


def test_a_lost_log_of_a_new_directory_is_noticed(tmp_path: Path) -> None:
    """A directory whose whole content was in the log that is gone is not taken for a new one."""
    with Notes(work_dir=tmp_path / 'work') as index:
        index.index(notes(range(3)))
        path = copied(index, tmp_path / 'copy')
    (path / 'documents.sqlite3-wal').unlink()
    with pytest.raises(CorruptIndexError, match='there are vectors beside it'):
        Notes(work_dir=path)


STAGING: list[tuple[Any, str, int]] = [
    (Transaction, '_put_all', 1),
    (Transaction, '_put', 1),
    (_Ends, 'note', 1),
    (Transaction, '_plan', 1),
    (VectorFile, 'write', 1),
    (VectorFile, 'write', 2),
    (Transaction, '_stage', 1),
    (Sidecar, 'apply', 1),
    (Sidecar, '_set_meta', 1),
    (_Ends, 'left_over', 1),
    (LabelTable, 'publish', 1),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('owner', 'name', 'at'), STAGING, ids=[f'{owner.__name__}.{name}-{at}' for owner, name, at in STAGING]
)
@pytest.mark.parametrize('goes_on', [False, True])
def test_a_call_that_is_interrupted_inside_a_batch_is_all_or_nothing(
    opened: HnswDocumentIndex[Note],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    at: int,
    moment: str,
    goes_on: bool,
) -> None:
    """I1, I7: a batch that goes on after Ctrl-C in one of its calls stores the others, or nothing, and no half call."""
    looks = owner is LabelTable
    before = state(opened)
    first, second, third = (by_id(notes(ids, seed=2)) for ids in (range(35, 50), range(45, 60), range(60, 65)))
    is_done = True
    try:
        with opened.batch():
            opened.index(list(first.values()))
            if looks:
                assert len(opened) == 50  # from now on the batch has labels of its own
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
                with pytest.raises(KeyboardInterrupt):
                    opened.index(list(second.values()))
            if goes_on:
                opened.index(list(third.values()))
    except DocIndexError:
        is_done = False
    more = third if goes_on else {}
    allowed = [before | first | more, before | first | second | more] if is_done else [before]
    held = state(opened)
    assert held in allowed
    check_whole(opened, held, held, tmp_path / 'aside')
