"""What filters and full text look at is as durable and consistent as the documents: whatever happens to a directory."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import (
    BaseDoc,
    CorruptIndexError,
    DocIndexError,
    DocList,
    Field,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    SchemaMismatchError,
    WorkDirError,
)
from docindex.hnsw import conditions, opening
from docindex.hnsw.extraction import Extraction
from docindex.hnsw.filtered import FilteredSearch
from docindex.hnsw.graph import Graph
from docindex.hnsw.matches import MatchCache, Matches
from docindex.hnsw.rows import Rows
from docindex.hnsw.search import FieldSearch
from docindex.hnsw.sidecar import Sidecar

DATABASE = 'documents.sqlite3'
WORDS = ['red', 'green', 'blue', 'Ärger', 'naïve']


class Entry(BaseDoc):
    number: int = 0
    kind: str = ''
    text: str | None = Field(default=None, full_text=True)
    note: str = Field(default='', full_text=True, tokenizer='trigram')
    extra: dict[str, Any] = Field(default_factory=dict)
    vector: NdArray | None = Field(default=None, dim=4)


Entries = HnswDocumentIndex[Entry]
Docs = dict[str, Entry]


def entry(number: int, seed: int = 0) -> Entry:
    vector = np.random.default_rng([seed, number]).standard_normal(4).astype(np.float32)
    words = f'{WORDS[number % 5]} all of {seed}'
    return Entry(
        id=f'e{number}',
        number=number,
        kind='ab'[number % 2],
        text=None if number % 6 == 5 else words,
        note=f'note {number}',
        extra={'at': number, 'seed': seed},
        vector=vector if number % 4 else None,
    )


def entries(numbers: range, seed: int = 0) -> list[Entry]:
    return [entry(number, seed) for number in numbers]


def stored(docs: list[Entry]) -> Docs:
    return {doc.id: doc for doc in docs}


def ids(docs: Any) -> list[str]:
    found = [doc.id for doc in docs]
    assert len(set(found)) == len(found)
    return sorted(found)


CONDITIONS: dict[str, tuple[dict[str, Any], Callable[[Entry], bool]]] = {
    'number': ({'number': {'$lt': 12}}, lambda doc: doc.number < 12),
    'kind': ({'kind': 'a'}, lambda doc: doc.kind == 'a'),
    'missing': ({'text': None}, lambda doc: doc.text is None),
    'inside': ({'extra__seed': {'$gte': 1}}, lambda doc: doc.extra['seed'] >= 1),
    'id': ({'id': {'$startswith': 'e1'}}, lambda doc: doc.id.startswith('e1')),
    'vector': ({'$not': {'vector': {'$exists': True}}}, lambda doc: doc.vector is None),
}


def words_of(doc: Entry) -> set[str]:
    return set(re.findall(r'\w+', doc.text or ''))


def check_fields(index: HnswDocumentIndex[Entry], docs: Mapping[str, Entry]) -> None:
    """Assert that by filters, words and filtered vectors an index has just these documents, as they are."""
    assert index.count() == len(docs)
    for filter_, is_match in CONDITIONS.values():
        expected = sorted(id_ for id_, doc in docs.items() if is_match(doc))
        assert ids(index.filter(filter_, limit=None)) == expected
        assert index.count(filter_) == len(expected)
        near = index.find(np.ones(4), limit=1000, filter=filter_).documents
        assert ids(near) == [id_ for id_ in expected if docs[id_].vector is not None]
    for word in (*WORDS, 'all', '0', '1', 'new', 'nowhere'):
        found = index.text_search(word, 'text', limit=1000).documents
        assert ids(found) == sorted(id_ for id_, doc in docs.items() if word in words_of(doc))
    assert ids(index.text_search('note', 'note', limit=1000).documents) == sorted(
        id_ for id_, doc in docs.items() if 'note' in doc.note
    )


def check_sound(index: HnswDocumentIndex[Any]) -> None:
    report = index.verify()
    assert report.problems == [], str(report)


def all_stored() -> Docs:
    docs = stored(entries(range(30)))
    docs |= stored(entries(range(5, 10), seed=1))
    for number in (3, 17):
        del docs[f'e{number}']
    docs['e11'] = docs['e11'].model_copy(update={'kind': 'a', 'text': 'new text'})
    return docs


@pytest.fixture(scope='module')
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a past, closed."""
    path = tmp_path_factory.mktemp('prepared') / 'work'
    with Entries(work_dir=path) as index:
        index.index(entries(range(30)))
        index.index(entries(range(5, 10), seed=1))
        index.delete(['e3', 'e17'])
        index.update('e11', kind='a', text='new text')
        check_fields(index, all_stored())
    return path


@pytest.fixture
def path(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(prepared, tmp_path / 'work')
    return tmp_path / 'work'


def execute(path: Path, *statements: str) -> None:
    """Change the SQLite file behind docindex's back."""
    with closing(sqlite3.connect(path / DATABASE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# -- what keeps it ---------------------------------------------------------------------------------------------


def test_it_is_there_after_reopening(path: Path) -> None:
    """Filters and words are as they were when the directory is opened again, for writing and for reading."""
    accesses: list[dict[str, Any]] = [{}, {'read_only': True}, {'shared_writes': True}, {'durability': 'process'}]
    for access in accesses:
        with Entries(work_dir=path, **access) as index:
            check_fields(index, all_stored())
            check_sound(index)


def test_a_compaction_keeps_it(path: Path) -> None:
    """A compaction renumbers what filters and full text look at together with the documents."""
    docs = all_stored()
    with Entries(work_dir=path) as index:
        for seed in (2, 3):
            index.compact()
            check_fields(index, docs)
            check_sound(index)
            index.index(entries(range(20, 35), seed))
            index.delete('e22')
            docs |= stored(entries(range(20, 35), seed))
            del docs['e22']
            check_fields(index, docs)
    with Entries(work_dir=path) as index:
        check_fields(index, docs)
        check_sound(index)


def test_a_backup_has_it(path: Path, tmp_path: Path) -> None:
    """A copy made by `backup`, also amid changes, has filters and words, and is an index that goes on."""
    with Entries(work_dir=path) as index:
        index.update('e12', text='new words')
        index.backup(tmp_path / 'copy')
        index.delete('e12')
    docs = all_stored()
    docs['e12'] = docs['e12'].model_copy(update={'text': 'new words'})
    with Entries(work_dir=tmp_path / 'copy') as copy:
        check_fields(copy, docs)
        check_sound(copy)
        copy.update('e12', text='all')
        docs['e12'] = docs['e12'].model_copy(update={'text': 'all'})
        check_fields(copy, docs)


def test_an_update_that_fails_in_sqlite_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call in a batch whose last statement fails is undone, its words too; the batch goes on and is whole."""
    docs = all_stored()
    with Entries(work_dir=path) as index:
        with index.batch():
            index.index(entries(range(40, 45), seed=1))
            docs |= stored(entries(range(40, 45), seed=1))
            with monkeypatch.context() as patch:
                patch.setattr(Sidecar, '_set_meta', _fail)
                with pytest.raises(WorkDirError):
                    index.index(entries(range(10, 50), seed=2))
                with pytest.raises(WorkDirError):
                    index.update('e12', text='nowhere')
            check_fields(index, docs)
            index.delete(['e41', 'e14'])
            del docs['e41'], docs['e14']
            check_fields(index, docs)
        check_fields(index, docs)
        check_sound(index)


def _fail(*_: object) -> None:
    raise WorkDirError('the disk is full', 'here', 'make room')


def test_a_batch_that_is_undone_has_no_words(path: Path) -> None:
    """Words and fields of a batch that is rolled back are gone, from later batches too."""
    with Entries(work_dir=path) as index:
        with suppress(ZeroDivisionError), index.batch():
            index.index(entries(range(60), seed=1))
            index.delete('e1')
            index.update('e12', text='nowhere')
            assert ids(index.text_search('nowhere', 'text').documents) == ['e12']
            raise ZeroDivisionError
        check_fields(index, all_stored())
        check_sound(index)
        with index.batch():
            index.update('e12', number=12)
        check_fields(index, all_stored())
        check_sound(index)


ODD_TEXTS = [
    '',
    '\0',
    'be\0tween',
    '\ud800 half',
    '"quoted"',
    "O'Neill",
    'ﬁ',
    '💥 boom',
    'a' * 100_000,
    '\n\r\t',
    'NULL',
]


def test_odd_texts_can_be_stored_changed_and_deleted(tmp_path: Path) -> None:
    """Texts with NULs, half characters, no words or very long ones leave full text sound when they go again."""
    with Entries(work_dir=tmp_path / 'work') as index:
        for after in reversed(ODD_TEXTS):
            texts = [text for text in ODD_TEXTS if '\ud800' not in text]
            index.index([Entry(id=str(at), text=text, note=text) for at, text in enumerate(texts)])
            check_sound(index)
            if '\ud800' not in after:
                index.update('1', text=after, note=after)
                assert '1' in ids(index.filter({'text': after}, limit=None))
            check_sound(index)
            index.delete([str(at) for at in range(0, len(texts), 2)])
            check_sound(index)
        index.compact()
        check_sound(index)


# -- another layout -------------------------------------------------------------------------------------------------


def schema(**fields: Any) -> Any:
    """Return a class of documents of one name with these fields."""
    return type(
        'Note',
        (BaseDoc,),
        {'__annotations__': {name: kind for name, (kind, _) in fields.items()}}
        | {name: default for name, (_, default) in fields.items()},
    )


def opened(doc_type: Any, path: Path, **access: Any) -> HnswDocumentIndex[Any]:
    return HnswDocumentIndex[doc_type](work_dir=path, **access)


def test_two_orders_of_fields_in_one_process_are_one_index(tmp_path: Path) -> None:
    """Two handles whose classes name the same fields in another order write and read the same fields."""
    one = schema(first=(int, 0), second=(int, 0))
    other = schema(second=(int, 0), first=(int, 0))
    with opened(one, tmp_path) as index, opened(other, tmp_path) as late:
        index.index(one(id='a', first=1, second=2))
        late.index(other(id='b', first=1, second=2))
        late.update('a', second=3)
        for each in (index, late):
            assert ids(each.filter({'first': 1})) == ['a', 'b']
            assert ids(each.filter({'second': 2})) == ['b']
            assert ids(each.filter({'second': 3})) == ['a']
            check_sound(each)


def test_another_order_of_fields_is_taken_at_the_next_opening(tmp_path: Path) -> None:
    """A directory is opened with the same fields in another order, again and again."""
    one = schema(first=(int, 0), second=(int, 0))
    other = schema(second=(int, 0), first=(int, 0))
    with opened(one, tmp_path) as index:
        index.index(one(id='a', first=1, second=2))
    for number, doc_type in enumerate((other, one, other)):
        with opened(doc_type, tmp_path, read_only=True) as reader:
            assert ids(reader.filter({'first': 1, 'second': 2}))[0] == 'a'
        with opened(doc_type, tmp_path) as index:
            index.index(doc_type(id=f'b{number}', first=1, second=2))
            assert len(index.filter({'first': 1, 'second': 2})) == number + 2
            check_sound(index)


def test_a_second_handle_gets_the_full_text_it_declares(tmp_path: Path) -> None:
    """A handle that declares full text has it, or is refused, also where this process has the directory open."""
    plain, searched = schema(text=(str, '')), schema(text=(str, Field(default='', full_text=True)))
    with opened(plain, tmp_path) as index:
        index.index(plain(id='a', text='some words'))
        try:
            late = opened(searched, tmp_path)
        except DocIndexError:
            return
        with late:
            assert ids(late.text_search('words').documents) == ['a']


def test_a_layout_that_changes_again_and_again_keeps_the_documents(tmp_path: Path) -> None:
    """Full text, its tokenizer and indexes come and go with the schema, with what the documents have."""
    words = [
        Field(default=''),
        Field(default='', full_text=True),
        Field(default='', full_text=True, tokenizer='trigram'),
        Field(default='', full_text=True, index=True),
        Field(default='', index=False),
        Field(default='', full_text=True, tokenizer='porter'),
    ]
    grades: list[Any] = [None, None, None, int, int, int | None]
    for number, (text, grade) in enumerate(zip(words, grades, strict=True)):
        doc_type = schema(text=(str, text), **({} if grade is None else {'grade': (grade, 3)}))
        with opened(doc_type, tmp_path) as index:
            index.index(doc_type(id=f'd{number}', text=f'text of {number}'))
            assert index.count({'text': {'$startswith': 'text of'}}) == number + 1
            if number in (1, 2, 3, 5):
                assert len(index.text_search('text', limit=99).documents) == number + 1
            if grade is not None:
                assert index.count({'grade': 3}) == number + 1
            check_sound(index)


def test_a_reader_is_told_of_a_field_that_is_not_there(tmp_path: Path) -> None:
    """A reader whose class has a field more than the directory is told so by whatever asks for it, and no more."""
    old = schema(first=(int, 0))
    new = schema(first=(int, 0), second=(int, 7), thing=(object | None, None), words=(str, Field('', full_text=True)))
    with opened(old, tmp_path) as index:
        index.index([old(id=str(at), first=at) for at in range(3)])
    with opened(new, tmp_path, read_only=True) as reader:
        assert ids(reader.filter({'first': 1})) == ['1']
        query = reader.build_query()
        for call in (
            lambda: reader.filter({'second': 7}),
            lambda: reader.count({'second': 7}),
            lambda: reader.filter({'thing': {'$exists': True}}),
            lambda: reader.filter(None, sort='second'),
            lambda: reader.text_search('word', 'words'),
            lambda: reader.execute_query(query.filter(None).group_by('second').build()),
            lambda: reader.execute_query(query.filter(None).offset(1).sort('second').build()),
        ):
            with pytest.raises((QueryError, SchemaMismatchError)):
                call()
        assert ids(reader.filter({'first': 1})) == ['1']


# -- damage --------------------------------------------------------------------------------------------------------

TEXT = 'text_unicode61'
DAMAGE: dict[str, list[str]] = {
    'a missing row': ['DELETE FROM fields WHERE label = 10'],
    'a row too many': ['INSERT INTO fields (label, f_number, f_kind) VALUES (5000, 1, "a")'],
    'a row of the dead': ['INSERT INTO fields (label, f_number, f_kind) VALUES (3, 1, "a")'],
    'a row of no label': ['INSERT INTO fields (label, f_number, f_kind) VALUES (-2, 1, "a")'],
    'a row elsewhere': ['UPDATE fields SET label = 1000000 WHERE label = 10'],
    'another number': ['UPDATE fields SET f_number = 1 WHERE label = 10 OR label > 20'],
    'no number': ['UPDATE fields SET f_number = "many" WHERE label = 10'],
    'bytes': ['UPDATE fields SET f_number = x"00" WHERE label = 10'],
    'no UTF-8': ['UPDATE fields SET f_kind = CAST(x"61ff" AS TEXT) WHERE label = 10'],
    'no UTF-8 in full text': ['UPDATE fields SET f_text = CAST(x"61ff" AS TEXT) WHERE label = 10'],
    'another text': ['UPDATE fields SET f_text = "blue" WHERE label = 10'],
    'no JSON': ['UPDATE fields SET f_extra = "{" WHERE label = 10'],
    'other JSON': ['UPDATE fields SET f_extra = "[1]" WHERE label = 10'],
    'bytes for JSON': ['UPDATE fields SET f_extra = x"ff00" WHERE label = 10'],
    'a tag that is none': ["""UPDATE fields SET f_extra = '{"seed":{"$date":7}}' WHERE label = 10"""],
    'words: another format': [f'UPDATE {TEXT}_config SET v = 9'],
    'words: no format': [f'DELETE FROM {TEXT}_config'],
    'words: garbage': [f'UPDATE {TEXT}_data SET block = x"ffffffffffff"'],
    'words: structure': [f'UPDATE {TEXT}_data SET block = x"ffffffffffff" WHERE id = 10'],
    'words: averages': [f'UPDATE {TEXT}_data SET block = x"" WHERE id = 1'],
    'words: none': [f'DELETE FROM {TEXT}_data'],
    'words: no averages': [f'DELETE FROM {TEXT}_data WHERE id = 1'],
    'words: no sizes': [f'DELETE FROM {TEXT}_docsize'],
    'words: one size': [f'DELETE FROM {TEXT}_docsize WHERE id = 10'],
    'words: of another': [f'INSERT INTO {TEXT} (rowid, f_text) VALUES (11, "blue")'],
    'words: of nobody': [f'INSERT INTO {TEXT} (rowid, f_text) VALUES (5000, "blue all")'],
    'words: of the dead': [f'INSERT INTO {TEXT} (rowid, f_text) VALUES (3, "blue all")'],
}
_DAMAGE = pytest.mark.parametrize('statements', DAMAGE.values(), ids=DAMAGE)


def damaged(path: Path, statements: list[str]) -> HnswDocumentIndex[Entry]:
    execute(path, *(statement.replace('"', "'") if '{"' not in statement else statement for statement in statements))
    return Entries(work_dir=path)


def ask_everything(index: HnswDocumentIndex[Entry]) -> Iterator[Callable[[], tuple[Any, Callable[[Entry], bool]]]]:
    """Yield calls that return documents, and what has to be true of each."""
    ones = np.ones(4)
    query = index.build_query
    for filter_, is_match in CONDITIONS.values():
        yield lambda f=filter_, m=is_match: (index.filter(f, limit=None), m)  # type: ignore[misc]
        yield lambda f=filter_, m=is_match: (index.filter(f, limit=5, sort='number'), m)  # type: ignore[misc]
        yield lambda f=filter_, m=is_match: (index.find(ones, limit=99, filter=f).documents, m)  # type: ignore[misc]
        yield lambda f=filter_, m=is_match: (index.find(ones, limit=5, filter=f, exact=True).documents, m)  # type: ignore[misc]
        yield lambda f=filter_, m=is_match: (index.text_search('all', 'text', filter=f, limit=99).documents, m)  # type: ignore[misc]
    for field in ('number', 'kind', 'text'):
        sort, group = query().find(ones, limit=99).sort(field), query().find(ones, limit=99).group_by(field)
        yield lambda q=sort: (index.execute_query(q.build()).documents, _anything)  # type: ignore[misc]
        yield lambda q=group: (index.execute_query(q.build()).documents, _anything)  # type: ignore[misc]
        yield lambda field=field: (index.filter(None, limit=None, sort=field), _anything)  # type: ignore[misc]
    for word in ('all', 'blue', 'note'):
        yield lambda word=word: (index.text_search(word, 'text', limit=99).documents, _anything)  # type: ignore[misc]
        yield lambda word=word: (index.hybrid(word, ones, text_field='text').documents, _anything)  # type: ignore[misc]
        yield lambda word=word: ([None for _ in index.snippets(word, ['e1', 'e12'], 'text')][:0], _anything)  # type: ignore[misc]


def _anything(_: Entry) -> bool:
    return True


@_DAMAGE
def test_damage_to_fields_is_never_a_wrong_document(path: Path, statements: list[str]) -> None:
    """A call raises `DocIndexError`, or returns documents as they were stored that match; never anything else."""
    docs = all_stored()
    with damaged(path, statements) as index:
        for ask in ask_everything(index):
            try:
                found, is_match = ask()
            except DocIndexError:
                continue
            for doc in found:
                assert doc == docs[doc.id]
                assert is_match(doc)


@_DAMAGE
def test_a_selection_is_checked_as_whole_documents_are(path: Path, statements: list[str]) -> None:
    """`select` with a filter returns what matches, or raises."""
    docs = all_stored()
    with damaged(path, statements) as index:
        for filter_, is_match in CONDITIONS.values():
            try:
                found = index.execute_query(index.build_query().filter(filter_).select('number').build()).documents
            except DocIndexError:
                continue
            for doc in found:
                assert is_match(docs[doc.id])


@_DAMAGE
def test_damage_to_fields_is_found_and_mended(path: Path, statements: list[str]) -> None:
    """`verify` says that something is wrong, reads all documents even so, and with `repair=True` puts it right."""
    docs = all_stored()
    with damaged(path, statements) as index:
        found = index.verify()
        assert not found.is_sound
        assert found.documents == len(docs)
        assert not any(problem.id for problem in found.problems), 'the documents are as they were'
        mended = index.verify(repair=True)
        assert mended.is_sound, str(mended)
        assert mended.problems
        check_sound(index)
        check_fields(index, docs)
        index.update('e12', text='new')
        index.delete('e13')
    docs['e12'] = docs['e12'].model_copy(update={'text': 'new'})
    del docs['e13']
    with Entries(work_dir=path) as index:
        check_fields(index, docs)
        check_sound(index)


@pytest.mark.parametrize('name', ['a missing row', 'a row too many', 'a row of the dead'])
def test_a_compaction_of_what_is_damaged_mixes_nothing_up(path: Path, name: str) -> None:
    """A compaction leaves each row of `fields` with its document, even where one is missing or too many, or refuses."""
    with damaged(path, DAMAGE[name]) as index:
        with suppress(DocIndexError):
            index.compact()
        seen = {doc.id for doc in _matching(index, {'number': {'$gte': 0}})}
        for doc in all_stored().values():
            if doc.number < 8:
                assert doc.id in seen
                assert ids(_matching(index, {'number': doc.number, 'kind': doc.kind})) == [doc.id]


def _matching(index: HnswDocumentIndex[Entry], filter_: dict[str, Any]) -> Any:
    try:
        return index.filter(filter_, limit=None)
    except CorruptIndexError:
        return []


def page_of(path: Path, name: str) -> tuple[int, int]:
    """Return where the page begins at which a table or index has its root, and its size."""
    with closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        (root,) = connection.execute('SELECT rootpage FROM sqlite_master WHERE name = ?', (name,)).fetchone()
        (size,) = connection.execute('PRAGMA page_size').fetchone()
    return (root - 1) * size, size


PAGES = [
    'fields',
    'index_f_number',
    'index_f_kind',
    *(f'{TEXT}_{part}' for part in ('data', 'idx', 'docsize', 'config')),
]


@pytest.mark.parametrize('table', PAGES)
@pytest.mark.parametrize('kind', ['zeroed', 'flipped'])
def test_a_damaged_page_of_what_can_be_made_anew_is_mended(path: Path, table: str, kind: str) -> None:
    """Whatever page of `fields`, its indexes and full text is damaged: `verify` finds it, and repairing mends it."""
    start, size = page_of(path, table)
    content = bytearray((path / DATABASE).read_bytes())
    if kind == 'zeroed':
        content[start : start + size] = bytes(size)
    else:
        content[start + size - 9] ^= 0x44
    (path / DATABASE).write_bytes(content)
    docs = all_stored()
    with Entries(work_dir=path) as index:
        for ask in ask_everything(index):
            try:
                found, is_match = ask()
            except DocIndexError:
                continue
            for doc in found:
                assert doc == docs[doc.id]
                assert is_match(doc)
        if index.verify().problems:
            report = index.verify(repair=True)
            assert report.is_sound, str(report)
        check_sound(index)
        check_fields(index, docs)


OF_ONE_LEVEL = [
    '[]',
    '[["number"]]',
    '[1]',
    '[["number", "f_number", "number", true, null, 5]]',
    '[["a", 3, 4, 5, 6]]',
    '{}',
    '[null]',
]
DESCRIPTIONS = [
    *({'fields': value} for value in OF_ONE_LEVEL),
    *({'fields': f'[{value}]'} for value in OF_ONE_LEVEL),
    *({'levels': value} for value in ('[]', '["chunks"]', '[null]', '[["", ""]]', '{"": 0}', '["", "chunks"]')),
    {'fields': '[[], []]'},
    {'fields': '[[], []]', 'levels': '["", ""]'},
    {'fields': '[[], []]', 'levels': '["", "chunks"]'},
    {'fields': '[[], []]', 'levels': '["", 1]'},
]


@pytest.mark.parametrize('values', DESCRIPTIONS, ids=str)
def test_a_damaged_description_of_fields_is_refused_or_made_anew(path: Path, values: dict[str, str]) -> None:
    """Whatever `meta` says of the columns and levels, opening makes it anew, or calls raise a `DocIndexError`."""
    for key, value in values.items():
        execute(path, f"UPDATE meta SET value = '{value}' WHERE key = '{key}'")
    accesses: list[dict[str, Any]] = [{'read_only': True}, {}]
    for access in accesses:
        with suppress(DocIndexError), Entries(work_dir=path, **access) as index:
            check_fields(index, all_stored())


class Line(BaseDoc):
    text: str = ''


class Page(BaseDoc):
    vector: NdArray = Field(dim=2)
    lines: DocList[Line]


@pytest.mark.parametrize(
    ('levels', 'fields'), [('[""]', '[[]]'), ('["", "other"]', '[[], []]'), ('["", "lines", "more"]', '[[], [], []]')]
)
@pytest.mark.parametrize('read_only', [False, True])
def test_lists_that_are_not_those_of_the_columns_are_refused(
    work_dir: Path, levels: str, fields: str, read_only: bool
) -> None:
    """A `meta` that lacks a list of documents, or has one that no column is, is a `CorruptIndexError`."""
    with HnswDocumentIndex[Page](work_dir=work_dir) as index:
        index.index(Page(vector=[1, 2], lines=[Line(text='a')]))
    for key, value in (('levels', levels), ('fields', fields)):
        execute(work_dir, f"UPDATE meta SET value = '{value}' WHERE key = '{key}'")
    with pytest.raises(CorruptIndexError, match=r'other lists of documents|lacks a part of its description'):
        HnswDocumentIndex[Page](work_dir=work_dir, read_only=read_only)


def test_names_of_columns_are_not_believed(path: Path) -> None:
    """A stranger's `meta` cannot put SQL of its own into ours."""
    inside = '[[["number", "f_number FROM fields; --", "number", true, null]]]'
    execute(path, f"UPDATE meta SET value = '{inside}' WHERE key = 'fields'")
    with pytest.raises(CorruptIndexError), Entries(work_dir=path, read_only=True) as index:
        index.filter({'number': 3})


# -- Ctrl-C ----------------------------------------------------------------------------------------------------


def interrupted(function: Callable[..., Any], moment: str, at: int) -> Callable[..., Any]:
    """Return `function`, which the `at`-th time is interrupted before it began or after it ended."""
    left = [at]

    def interrupting(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and moment == 'before':
            raise KeyboardInterrupt
        result = function(*args, **kwargs)
        if left[0] == 0:
            raise KeyboardInterrupt
        return result

    return interrupting


SEARCHING: list[tuple[Any, str, int]] = [
    (MatchCache, 'get', 1),
    (Matches, 'flags', 1),
    (Matches, 'flags', 2),
    (Rows, 'count_where', 1),
    (Rows, 'labels_where', 1),
    (Rows, 'among', 1),
    (Rows, 'fetch', 1),
    (FilteredSearch, '_ask', 1),
    (FilteredSearch, '_by_bitmap', 1),
    (FilteredSearch, '_labels', 1),
    (FieldSearch, 'nearest', 1),
    (FieldSearch, 'by_graph_among', 1),
    (Graph, 'search', 1),
    (Graph, 'search_among', 1),
    (conditions, 'where', 1),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('owner', 'name', 'at'), SEARCHING, ids=[f'{owner.__name__}.{name}-{at}' for owner, name, at in SEARCHING]
)
def test_an_interrupted_filtered_search_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, moment: str
) -> None:
    """Ctrl-C in the middle of a filtered search ends it, and the next ones are right, before and after a write."""
    with Entries(work_dir=path) as index:
        with monkeypatch.context() as patch:
            patch.setattr('docindex.hnsw.filtered._FIRST_ASK', 1)
            patch.setattr('docindex.hnsw.filtered._MARGIN', 0)
            patch.setattr(FilteredSearch, '_next', lambda self, asked, matching, limit, ef: ('bitmap', asked))
            index.configure(flat_search_cutoff=0)
            patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
            if owner is conditions:
                patch.setattr('docindex.hnsw.searching.where', conditions.where)
            filters = [filter_ for filter_, _ in CONDITIONS.values()]
            with suppress(KeyboardInterrupt):
                for filter_ in filters:
                    index.find(np.ones(4), limit=3, filter=filter_)
                    index.find(np.ones(4), limit=3, filter=filter_, exact=True)
                    index.find(np.ones(4), limit=3, filter=filter_)
                pytest.fail('nothing was interrupted')
        check_fields(index, all_stored())
        index.update('e12', kind='b', text='new')
        docs = all_stored()
        docs['e12'] = docs['e12'].model_copy(update={'kind': 'b', 'text': 'new'})
        check_fields(index, docs)
        check_sound(index)


@pytest.mark.parametrize('filter_', [{'extra__at': 3}, {'kind': {'$regex': 'a'}}], ids=['holds', 'regex'])
def test_ctrl_c_inside_a_function_of_sql_is_ctrl_c(
    path: Path, monkeypatch: pytest.MonkeyPatch, filter_: dict[str, Any]
) -> None:
    """Ctrl-C that comes while SQLite calls Python for a filter is not taken for a failing disk."""

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with Entries(work_dir=path) as index:
        with monkeypatch.context() as patch:
            patch.setattr(conditions, 'holds', interrupt)
            patch.setattr('docindex.hnsw.conditions.re.search', interrupt)
            with pytest.raises(KeyboardInterrupt):
                index.filter(filter_)
        check_fields(index, all_stored())


class Wider(Entry):
    """An entry as a later version of a program has it."""

    number: int = Field(default=0, index=False)
    kind: str = Field(default='', full_text=True)
    grade: int = 3


OPENING: list[tuple[Any, str, int]] = [
    (opening, 'carry_over', 1),
    (opening, 'put_declared', 1),
    (opening, 'put_fields', 1),
    (opening, 'fill_fields', 1),
    (Sidecar, 'adapt', 1),
    (Sidecar, 'put_fields', 1),
    (Sidecar, '_set_meta', 2),
    (Sidecar, '_count_commit', 2),
    (Extraction, 'reread', 1),
    (Extraction, 'reread', 20),
]


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize(
    ('owner', 'name', 'at'),
    OPENING,
    ids=[f'{owner.__name__.rpartition(".")[2]}.{name}-{at}' for owner, name, at in OPENING],
)
def test_an_interrupted_opening_with_another_layout_is_repeated(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, moment: str
) -> None:
    """Ctrl-C while a directory takes another layout leaves the old or the new one, and the next opening goes on."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), moment, at))
        with pytest.raises(KeyboardInterrupt):
            HnswDocumentIndex[Wider](work_dir=path)
    shutil.copytree(path, tmp_path / 'copy')
    with HnswDocumentIndex[Wider](work_dir=path) as index:
        wider = {doc.id: Wider(**dict(doc)) for doc in all_stored().values()}
        check_fields(index, wider)  # type: ignore[arg-type]
        assert index.count({'grade': 3}) == len(wider)
        assert len(index.text_search('a', 'kind', limit=99).documents) == index.count({'kind': 'a'})
        check_sound(index)
    with Entries(work_dir=tmp_path / 'copy') as old:
        check_fields(old, all_stored())
        check_sound(old)
