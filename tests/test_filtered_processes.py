"""Filters and full text in several processes: each sees them as of each commit, whoever made it, or is told why not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import DocIndexError, FilterError, HnswDocumentIndex, SchemaMismatchError
from tests import programs
from tests.words import Other

SCHEMAS = """
import sys
from typing import Any
import numpy as np
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

def page(order='count text', text=None, count=None, more=None):
    text = {'full_text': True} if text is None else text
    kinds = {'count': (int, count or 0), 'text': (str, Field(default='', **text))}
    kinds['more'] = (int, 7)
    names = order.split()
    body = {'__annotations__': {name: kinds[name][0] for name in names}, **{name: kinds[name][1] for name in names}}
    body['__annotations__']['vector'] = NdArray | None
    body['vector'] = Field(default=None, dim=4)
    return type('Page', (BaseDoc,), body)

LAYOUTS = {
    'searched': page(),
    'trigrams': page(text={'full_text': True, 'tokenizer': 'trigram'}),
    'plain': page(text={}),
    'unindexed': page(count=Field(default=0, index=False)),
    'other order': page('text count'),
    'wider': page('count text more'),
}

def seen(index, counts, words, limit=1000):
    ones = np.ones(4)
    found = []
    for count in counts:
        docs = index.filter({'count': count}, limit=None)
        assert all(doc.count == count for doc in docs)
        near = index.find(ones, limit=limit, filter={'count': count}).documents
        assert all(doc.count == count for doc in near)
        assert sorted(near.id) == sorted(doc.id for doc in docs if doc.vector is not None), (near.id, docs.id)
        assert index.count({'count': count}) == len(docs)
        found += [sorted(docs.id), sorted(near.id)]
    for word in words:
        docs = index.text_search(word, limit=limit).documents
        assert all(word in doc.text for doc in docs)
        found.append(sorted(docs.id))
    return found
"""
OBEYS = (
    SCHEMAS
    + """
def told(line):
    print(line, flush=True)
    return sys.stdin.readline().strip()

Page = LAYOUTS[sys.argv[2]]
with HnswDocumentIndex[Page](work_dir=sys.argv[1], **eval(sys.argv[3])) as index:
    line = told('open')
    while line:
        try:
            answer = repr(eval(line))
        except Exception as error:
            answer = f'{type(error).__name__}: {error}'
        line = told(answer.replace(chr(10), ' '))
"""
)
_namespace: dict[str, Any] = {}
exec(SCHEMAS, _namespace)  # the same classes here and there
LAYOUTS: dict[str, Any] = _namespace['LAYOUTS']
seen: Any = _namespace['seen']

COUNTS, TEXTS = [0, 1, 2, 99], ['red', 'blue', 'new']


class Peer(Other):
    """Another process that has an index open, in some layout, and does as it is told."""

    def __init__(self, path: Path, layout: str = 'searched', **access: Any) -> None:
        self.process: subprocess.Popen[str] = programs.start(OBEYS, path, layout, access)
        opened = self.line()
        assert opened == 'open', opened


@contextmanager
def peer(path: Path, layout: str = 'searched', **access: Any) -> Iterator[Peer]:
    process = Peer(path, layout, **access)
    try:
        yield process
        process.close()
    finally:
        process.kill()


def opened(path: Path, layout: str = 'searched', **access: Any) -> HnswDocumentIndex[Any]:
    doc_type = LAYOUTS[layout]
    return HnswDocumentIndex[doc_type](work_dir=path, **access)  # type: ignore[valid-type]


def page(number: int, layout: str = 'searched', **fields: Any) -> Any:
    vector = np.random.default_rng(number).standard_normal(4).astype(np.float32) if number % 5 else None
    text = f'{"red" if number % 2 else "blue"} {number}'
    return LAYOUTS[layout](**{'id': str(number), 'count': number % 3, 'text': text, 'vector': vector, **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with thirty pages."""
    with opened(tmp_path / 'work') as index:
        index.index([page(number) for number in range(30)])
    return tmp_path / 'work'


CHANGES = {
    'insert': "index.index(Page(id='new', count=1, text='new red', vector=np.ones(4)))",
    'update metadata': "index.update('3', count=99)",
    'update a text': "index.update('3', text='new blue')",
    'replace': "index.index(Page(id='4', count=2, text='new', vector=np.ones(4)))",
    'take a vector away': "index.update('4', vector=None)",
    'delete': "index.delete(['4', '7', '9'])",
    'compact': '(index.delete([str(at) for at in range(0, 20, 2)]), index.compact())',
    'everything deleted': 'index.delete(list(index))',
}


def check_agree(index: HnswDocumentIndex[Any], other: Peer) -> list[list[str]]:
    """Assert that both processes answer filters and text searches alike, and return the answer."""
    found: list[list[str]] = seen(index, COUNTS, TEXTS)
    assert other(f'seen(index, {COUNTS}, {TEXTS})') == repr(found)
    return found


@pytest.mark.parametrize('access', [{'read_only': True}, {'shared_writes': True}], ids=['reader', 'shared writer'])
def test_filters_and_words_are_seen_as_of_each_commit(path: Path, access: dict[str, Any]) -> None:
    """After each call of a writer in another process, the next filters and text searches here answer as there."""
    writes: dict[str, Any] = {'shared_writes': True} if 'shared_writes' in access else {}
    with opened(path, **access) as index, peer(path, **writes) as writer:
        before = check_agree(index, writer)
        for name, change in CHANGES.items():
            assert 'Error' not in writer(change), name
            after = check_agree(index, writer)
            assert after != before, name
            before = after
        if writes:
            index.index([page(number) for number in range(5)])
            check_agree(index, writer)
            report = index.verify()
            assert report.is_sound, str(report)


def test_shared_writers_change_metadata_in_turn(path: Path) -> None:
    """Two processes that move documents in and out of a filter, one after another, never see a stale one."""
    with opened(path, shared_writes=True) as index, peer(path, shared_writes=True) as other:
        for number in range(12):
            index.update(str(number), count=99, text=f'new {number}')
            assert index.count({'count': 99}) == 1
            assert other("index.find(np.ones(4), filter={'count': 99}, limit=9).documents.id") == repr(
                [str(number)] if number % 5 else []
            )
            other(f"index.update('{number}', count=0, text='red')")
            if number % 4 == 3:
                other('index.compact()')
            assert seen(index, [99], ['new']) == [[], [], []]
        check_agree(index, other)
        report = index.verify()
        assert report.is_sound, str(report)


def test_a_batch_elsewhere_is_seen_whole_or_not(path: Path) -> None:
    """A reader sees nothing of a batch in another process before its end, and then all of it."""
    with opened(path, read_only=True) as reader, peer(path) as writer:
        before = seen(reader, COUNTS, TEXTS)
        writer('setattr(index, "open_batch", index.batch()) or index.open_batch.__enter__()')
        writer("index.update('3', count=99, text='new')")
        writer("index.delete('4')")
        assert writer('seen(index, [99], ["new"])') == "[['3'], ['3'], ['3']]"
        assert seen(reader, COUNTS, TEXTS) == before
        writer('index.open_batch.__exit__(None, None, None)')
        assert seen(reader, [99], ['new']) == [['3'], ['3'], ['3']]
        check_agree(reader, writer)


@pytest.mark.parametrize('layout', ['trigrams', 'unindexed'])
def test_a_reader_goes_on_when_the_layout_changes(path: Path, layout: str) -> None:
    """A writer that opens with another tokenizer, or without an index, leaves open readers with right answers."""
    with opened(path, read_only=True) as reader:
        before = seen(reader, COUNTS, TEXTS)
        with peer(path, layout) as writer:
            assert seen(reader, COUNTS, TEXTS) == before
            writer("index.update('3', count=99, text='new')")
            assert check_agree(reader, writer) != before


def test_a_reader_is_told_when_full_text_is_gone(path: Path) -> None:
    """A writer that opens without full text takes it from open readers, who hear so; filters go on."""
    with opened(path, read_only=True) as reader:
        assert seen(reader, [], ['blue']) != [[]]
        with peer(path, 'plain') as writer:
            writer("index.update('3', count=99)")
            assert seen(reader, [99], []) == [['3'], ['3']]
            with pytest.raises(DocIndexError, match='full text'):
                reader.text_search('blue')
        with peer(path, 'searched') as writer:
            check_agree(reader, writer)


def test_shared_writers_with_two_layouts_write_one_index(path: Path) -> None:
    """A shared writer that opens with other indexes and tokenizers changes nothing for the one that is open."""
    with opened(path, shared_writes=True) as index:
        for layout in ('trigrams', 'unindexed', 'searched'):
            with peer(path, layout, shared_writes=True) as other:
                index.update('3', count=1, text=f'new {layout}')
                other("index.update('6', count=99, text='new red')")
                check_agree(index, other)
                index.index(page(40, text='blue new', count=99))
                check_agree(index, other)
                index.delete('40')
                check_agree(index, other)
                report = index.verify()
                assert report.is_sound, str(report)


def test_a_shared_writer_with_another_order_of_fields_mixes_nothing_up(path: Path) -> None:
    """Where another process has the same fields in another order, a write stands in the right columns or is refused."""
    with opened(path, shared_writes=True) as index, peer(path, 'other order', shared_writes=True) as other:
        other("index.update('3', count=99, text='new')")
        try:
            index.update('6', count=99, text='new')
            expected = [['3', '6']] * 3
        except SchemaMismatchError:
            expected = [['3']] * 3
        assert other("seen(index, [99], ['new'])") == repr(expected)
        assert other('index.verify().is_sound') == 'True'


def test_a_field_that_the_directory_lacks_is_an_error_that_says_so(path: Path) -> None:
    """A reader whose class has a field more hears of it when it asks, and can ask once a writer has brought it."""
    with opened(path, 'wider', read_only=True) as reader:
        assert reader['3'].more == 7
        assert seen(reader, [0], ['blue'])[0]
        with pytest.raises(FilterError, match='more'):
            reader.filter({'more': 7})
        with pytest.raises(FilterError, match='more'):
            reader.find(np.ones(4), filter={'more': 7})
        with peer(path, 'wider') as writer:
            assert writer("index.count({'more': 7})") == '30'
            with pytest.raises((FilterError, SchemaMismatchError)):
                reader.filter({'more': 7})
    with opened(path, 'wider', read_only=True) as late:
        assert late.count({'more': 7}) == 30


def test_a_reader_opens_beside_one_that_has_to_be_reopened(path: Path) -> None:
    """A reader that another schema has overtaken does not keep this process from opening the directory anew."""
    with opened(path, 'wider', read_only=True), peer(path, 'wider') as writer:
        with opened(path, 'wider', read_only=True) as late:
            assert late.count({'more': 7}) == 30
        assert writer('index.count()') == '30'


def test_a_reader_of_the_class_as_it_was_goes_on(path: Path) -> None:
    """A reader that opens with the class before its new field still answers by the fields that it knows."""
    with peer(path, 'wider') as writer, opened(path, read_only=True) as reader:
        writer("index.update('3', count=99, text='new')")
        assert check_agree(reader, writer)[6] == ['3']


LIVES = (
    SCHEMAS
    + """
Page = LAYOUTS['searched']
rng = np.random.default_rng(int(sys.argv[2]))
with HnswDocumentIndex[Page](work_dir=sys.argv[1], shared_writes=True, lock_timeout=60) as index:
    for number in range(int(sys.argv[3])):
        ids = [str(at) for at in rng.choice(30, 4, replace=False)]
        with index.batch():
            marked = index.filter({'count': 99}, limit=None).id
            for id_ in marked:
                index.update(id_, count=0, text='red')
            for id_ in ids:
                index.update(id_, count=99, text='new')
        if number % 10 == 9:
            index.compact()
print('done')
"""
)


def test_readers_and_writers_at_once_see_whole_commits(path: Path) -> None:
    """While two processes write batches and compact, every search finds exactly the four documents of one commit."""
    with opened(path) as index:
        for number in range(30):
            index.update(str(number), vector=np.full(4, number, np.float32))
            index.update(str(number), count=99 if number < 4 else 0, text='new' if number < 4 else 'red')
    writers = [programs.start(LIVES, path, seed, 25) for seed in (1, 2)]
    looks = 0
    with opened(path, read_only=True) as reader:
        while any(writer.poll() is None for writer in writers) or not looks:
            near = reader.find(np.ones(4), limit=20, filter={'count': 99}).documents
            assert len(set(near.id)) == len(near) == 4
            assert set(near.text) == {'new'}
            assert len(reader.filter({'count': 99}, limit=None)) == 4
            words = reader.text_search('new', limit=20).documents
            assert len(set(words.id)) == len(words) == 4
            assert {doc.count for doc in words} == {99}
            looks += 1
    for writer in writers:
        printed = writer.communicate(timeout=programs.PATIENCE)[0]
        assert (writer.returncode, printed.splitlines()[-1:]) == (0, ['done']), printed
    with opened(path) as index:
        report = index.verify()
        assert report.is_sound, str(report)
