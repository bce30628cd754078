"""Rows and labels of several levels: runs of labels, transactions with lists, compaction, schemas that change."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field as PydanticField

from docindex import BaseDoc, DocList, DocumentError, Field, HnswDocumentIndex, NdArray, SchemaMismatchError
from docindex.hnsw.labels import LabelTable

LEVEL_OF = {'embedding': 0, 'chunks__embedding': 1, 'chunks__words__embedding': 2}


class Word(BaseDoc):
    embedding: NdArray[2]


class Chunk(BaseDoc):
    page: int = 0
    embedding: NdArray[2]
    words: list[Word] = PydanticField(default_factory=list)


class Book(BaseDoc):
    title: str = ''
    embedding: NdArray[2] | None = None
    chunks: DocList[Chunk] | None = None


Index = HnswDocumentIndex[Book]


def chunk(id_: str, *words: str, at: float = 0) -> Chunk:
    return Chunk(id=id_, embedding=[at, 1], words=[Word(id=word, embedding=[at, 2]) for word in words])


def book(id_: str, *chunks: Chunk, at: float = 0) -> Book:
    return Book(id=id_, embedding=[at, 0], chunks=list(chunks))


@pytest.fixture
def index(work_dir: Path) -> Iterator[Index]:
    with Index(work_dir=work_dir, durability='process', auto_compact=False) as index:
        index.index([book('a', chunk('a1', 'x', 'y'), chunk('a2')), book('b', chunk('b1', 'z'))])
        yield index


def rows(index: Index, sql: str) -> list[Any]:
    """Return what a statement finds in the index's file."""
    with sqlite3.connect(index.work_dir / 'documents.sqlite3') as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


def ids(index: Index) -> list[list[str]]:
    """Return the ids of each level."""
    return [sorted(each) for each in (index, index.subindex('chunks'), index.subindex('chunks__words'))]


# -- labels ------------------------------------------------------------------------------------------------


def test_a_table_without_levels_keeps_no_numbers() -> None:
    """Where all labels are of level 0 a table answers so, for as many labels as one likes."""
    table = LabelTable({'embedding': 0, 'other': 3})
    table.publish(5000, [7], {})
    assert (table.documents(), table.documents(3), table.vectors('embedding')) == (4999, 0, 4999)
    assert (table.rows_needed('embedding'), table.rows_needed('other')) == (5000, 0)
    assert table.is_of(0, 4999)
    assert table.living('other', 0, 5000).tolist() == []
    assert table.runs() == []


def test_labels_of_levels_against_a_list() -> None:
    """Whatever is published, in runs of any length, a table knows the level of each label and who lives."""
    chance = random.Random(5)
    for _ in range(10):
        table, levels, dead, absent = LabelTable(LEVEL_OF), [], set(), set()
        last = 0
        for _ in range(chance.randrange(1, 12)):
            runs: list[tuple[int, int]] = []
            for _ in range(chance.randrange(4)):
                level, count = chance.randrange(3), chance.choice([1, 2, 700])
                if level != last:
                    runs.append((len(levels), level))
                    last = level
                levels += [level] * count
            buried = chance.sample(range(len(levels)), min(len(levels), 3))
            buried = [label for label in buried if label not in dead]
            dead.update(buried)
            mine = [label for label in range(table.next, len(levels)) if levels[label] == 1 and chance.random() < 0.1]
            absent.update(mine)
            table.publish(len(levels), buried, {'chunks__embedding': mine} if mine else {}, runs)
        for one in (table, table.copy()):
            check(one, levels, dead, absent)


def check(table: LabelTable, levels: list[int], dead: set[int], absent: set[int]) -> None:
    alive = [label for label in range(len(levels)) if label not in dead]
    for field, level in LEVEL_OF.items():
        mine = [label for label in alive if levels[label] == level]
        with_vector = [label for label in mine if level != 1 or label not in absent]
        assert table.documents(level) == len(mine)
        assert table.vectors(field) == len(with_vector)
        assert table.living(field, 0, len(levels)).tolist() == with_vector
        everything = np.arange(len(levels))
        assert table.is_of_level(field, everything).tolist() == [one == level for one in levels]
        assert table.rows_needed(field) == max((at + 1 for at, one in enumerate(levels) if one == level), default=0)
        assert [table.has_vector(field, label) for label in mine] == [label in with_vector for label in mine]
    assert table.all_documents == len(alive)
    assert table.living_documents().tolist() == sorted(alive, key=lambda label: (levels[label], label))


def test_labels_are_given_in_runs(index: Index) -> None:
    """A call gives labels level by level, and the file says at which another level begins."""
    assert rows(index, 'SELECT label, level FROM runs ORDER BY label') == [(2, 1), (5, 2)]
    index.index(book('c', chunk('c1')))
    index.subindex('chunks').append('c', chunk('c2'))
    levels = rows(index, 'SELECT level FROM documents ORDER BY label')
    assert [level for (level,) in levels] == [0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 1]
    assert rows(index, 'SELECT label, level FROM runs ORDER BY label') == [(2, 1), (5, 2), (8, 0), (9, 1)]


def test_vector_files_are_as_long_as_their_level_needs(index: Index) -> None:
    """A vector stands in its file where its label says, whatever labels of other levels are between."""
    index.index([book(f'more {at}', chunk(f'm{at}', at=at)) for at in range(1, 50)])
    for at in (1, 25, 49):
        assert index.find([at, 1], 'chunks__embedding', 1, exact=True).documents.id == [f'm{at}']
    assert index.verify().is_sound


# -- transactions ------------------------------------------------------------------------------------------


def test_what_stays_the_same_keeps_its_label(index: Index) -> None:
    """A root that is stored again gives no new labels to documents whose vectors are as they were."""
    before = rows(index, 'SELECT id, level, label FROM documents ORDER BY id')
    index.index(index[['a', 'b']])
    index.update('a', title='new')
    index.subindex('chunks').update('a1', page=4)
    assert rows(index, 'SELECT id, level, label FROM documents ORDER BY id') == before
    assert index['a'].chunks.page == [4, 0]


def test_a_change_of_order_is_kept(index: Index) -> None:
    """The documents in a list may come in another order the next time, with the labels that they have."""
    before = rows(index, 'SELECT id, label FROM documents ORDER BY id')
    first, second = index['a'].chunks
    index.index(book('a', second, first))
    assert index['a'].chunks.id == ['a2', 'a1']
    assert rows(index, 'SELECT id, label FROM documents ORDER BY id') == before
    assert index.verify().is_sound


def test_the_lists_say_how_long_they_are(index: Index) -> None:
    """Each document knows how many are in its lists, whatever was appended, deleted or replaced."""
    index.subindex('chunks').append('b', [chunk('b2', 'w'), chunk('b3')])
    index.subindex('chunks__words').delete(['x', 'w'])
    index.subindex('chunks').delete('b1')
    index.subindex('chunks').update('a1', embedding=[5, 5])
    counts = dict(rows(index, 'SELECT id, children FROM documents WHERE level < 2'))
    assert counts == {'a': 2, 'b': 2, 'a1': 1, 'a2': 0, 'b2': 0, 'b3': 0}
    assert index.verify().is_sound


def test_positions_after_gaps(index: Index) -> None:
    """What is appended comes last, also after some in the middle, or all, have gone."""
    chunks = index.subindex('chunks')
    chunks.append('a', [chunk('a3'), chunk('a4')])
    chunks.delete(['a2', 'a4'])
    chunks.append('a', chunk('a5'))
    assert index['a'].chunks.id == ['a1', 'a3', 'a5']
    assert index.filter({'chunks__1__id': 'a3'}).id == ['a']
    chunks.delete(['a1', 'a3', 'a5'])
    assert index['a'].chunks == []
    chunks.append('a', chunk('a6'))
    assert index['a'].chunks.id == ['a6']


def test_a_batch_with_calls_that_fail_goes_on(index: Index) -> None:
    """A call that fails in a batch has done nothing at any level, and the rest of the batch is stored."""
    with index.batch():
        index.index(book('c', chunk('c1', 'w')))
        for call in (
            lambda: index.index([book('a'), book('d', chunk('b1'))]),
            lambda: index.index(book('a', chunk('new', 'z'))),
            lambda: index.subindex('chunks').append('c', [chunk('c2'), chunk('a1')]),
            lambda: index.subindex('chunks').update([chunk('a1', 'z'), chunk('c1')]),
        ):
            with pytest.raises(DocumentError, match='taken'):
                call()
        index.subindex('chunks').append('c', chunk('c2'))
        assert index['c'].chunks.id == ['c1', 'c2']
    assert ids(index) == [['a', 'b', 'c'], ['a1', 'a2', 'b1', 'c1', 'c2'], ['w', 'x', 'y', 'z']]
    assert index.verify().is_sound


def test_a_batch_that_is_undone_leaves_no_level_behind(index: Index) -> None:
    """After a batch was undone, what comes next gets the labels it would have got, with its levels."""
    with pytest.raises(KeyError), index.batch():  # noqa: PT012
        index.index(book('c', chunk('c1', 'w')))
        index.delete('a')
        raise KeyError
    assert ids(index) == [['a', 'b'], ['a1', 'a2', 'b1'], ['x', 'y', 'z']]
    index.subindex('chunks').append('a', chunk('a3', at=9))
    assert index.find([9, 1], 'chunks__embedding', 1).documents.id == ['a3']
    assert rows(index, "SELECT label, level FROM documents WHERE id = 'a3'") == [(8, 1)]
    assert index.verify().is_sound


def test_a_failure_behind_many_documents_undoes_them(work_dir: Path) -> None:
    """An error in the last of more documents than are stored at a time undoes all of them."""
    chunks = [Chunk(id=f'{at}', embedding=[at, 0]) for at in range(9_000)]
    chunks.append(Chunk.model_construct(id='bad', page=0, embedding=None, words=[]))
    with Index(work_dir=work_dir, durability='process') as index:
        index.index(book('a', chunk('0')))
        with pytest.raises(DocumentError, match=r"'b'\): chunks\[9000\] \(id 'bad'\): field 'embedding' is missing"):
            index.index([book('a'), Book.model_construct(id='b', title='', embedding=None, chunks=chunks)])
        assert ids(index) == [['a'], ['0'], []]
        index.index(book('a', chunk('1', at=1)))
        assert index.find([1, 1], 'chunks__embedding').documents.id == ['1']
        assert index.verify().is_sound


# -- compaction ----------------------------------------------------------------------------------------------


def test_compaction_puts_the_levels_one_behind_another(index: Index) -> None:
    """A compaction gives new labels level by level, in the old order, and everything is found as before."""
    for at in range(5):
        index.index(book('a', chunk('a1', 'x', at=at), chunk(f'n{at}', at=at + 10), at=at))
    index.subindex('chunks').append('b', chunk('b0', at=7))
    before = [repr(index[id_]) for id_ in ('a', 'b')]
    index.compact()
    assert rows(index, 'SELECT label, level FROM runs ORDER BY label') == [(2, 1), (6, 2)]
    assert rows(index, 'SELECT min(label), max(label), level FROM documents GROUP BY level') == [
        (0, 1, 0),
        (2, 5, 1),
        (6, 7, 2),
    ]
    assert [repr(index[id_]) for id_ in ('a', 'b')] == before
    assert index.find([14, 1], 'chunks__embedding', 1).documents.id == ['n4']
    assert index.filter({'chunks__id': 'b0'}).id == ['b']
    assert index.verify().is_sound
    index.index(book('c', chunk('c1', 'w')))
    assert index.verify().is_sound


def test_compaction_of_what_has_no_roots_left(index: Index) -> None:
    """An index from which everything was deleted can be compacted, and filled again."""
    index.delete(['a', 'b'])
    index.compact()
    assert ids(index) == [[], [], []]
    index.index(book('a', chunk('a1', 'x')))
    assert ids(index) == [['a'], ['a1'], ['x']]
    assert index.verify().is_sound


# -- schemas that change -------------------------------------------------------------------------------------


def reopened(work_dir: Path, name: str, fields: dict[str, Any], base: type[BaseDoc] = BaseDoc) -> Any:
    """Return an index of a directory with documents of another class, which has these fields with defaults."""
    annotations = {field: annotation for field, (annotation, _) in fields.items()}
    defaults = {field: default for field, (_, default) in fields.items()}
    made: Any = type(name, (base,), {'__annotations__': annotations, '__module__': __name__, **defaults})
    return HnswDocumentIndex[made](work_dir=work_dir, durability='process')


def test_a_new_list(work_dir: Path) -> None:
    """A list that a class has now, with a default, is empty in stored documents, and can be filled."""
    with HnswDocumentIndex[Chunk](work_dir=work_dir) as old:
        old.index(chunk('a', 'x'))
    notes = PydanticField(default_factory=list)
    with reopened(work_dir, 'Newer', {'notes': (list[Word], notes)}, Chunk) as index:
        assert (index['a'].notes, index['a'].words[0].id) == ([], 'x')
        index.subindex('notes').append('a', Word(id='n', embedding=[1, 1]))
        index.update('a', page=3)
        assert index.find([1, 1], 'notes__embedding').documents.id == ['n']
        assert index['a'].notes[0].id == 'n'
        index.compact()
        assert index.verify().is_sound


def test_a_removed_list(index: Index) -> None:
    """A class without a list that was stored is refused, for the documents in it would be lost."""
    index.close()
    with pytest.raises(SchemaMismatchError, match=r'chunks is documents \| None there and missing here'):
        reopened(index.work_dir, 'Less', {'title': (str, ''), 'embedding': (NdArray[2] | None, None)})
    with Index(work_dir=index.work_dir) as again:
        assert ids(again) == [['a', 'b'], ['a1', 'a2', 'b1'], ['x', 'y', 'z']]


def test_new_fields_of_documents_in_a_list(index: Index) -> None:
    """Documents in a list may get fields and optional vectors, with their defaults in the stored ones."""
    index.close()

    class Longer(Chunk):
        mark: str = 'none'
        second: NdArray[3] | None = None

    fields = {'title': (str, ''), 'embedding': (NdArray[2] | None, None), 'chunks': (DocList[Longer] | None, None)}
    with reopened(index.work_dir, 'Longest', fields) as newer:
        assert newer.filter({'chunks__mark': 'none'}).id == ['a', 'b']
        assert newer.find([0, 0, 0], 'chunks__second').documents == []
        newer.subindex('chunks').update('a1', second=[1, 2, 3], mark='new')
        newer.subindex('chunks').append('b', Longer(id='b9', embedding=[1, 1], second=[3, 2, 1]))
        assert newer.find([1, 2, 3], 'chunks__second').documents.id == ['a1', 'b9']
        assert newer.filter({'chunks__mark': 'new'}).id == ['a']
        newer.compact()
        assert newer.find([1, 2, 3], 'chunks__second').documents.id == ['a1', 'b9']
        assert newer.verify().is_sound


def test_a_required_vector_in_a_list_cannot_be_new(index: Index) -> None:
    """A vector that documents in a list must have cannot be new while there are some."""
    index.close()

    class Longer(Chunk):
        second: NdArray[3]

    fields = {'title': (str, ''), 'embedding': (NdArray[2] | None, None), 'chunks': (DocList[Longer] | None, None)}
    with pytest.raises(SchemaMismatchError, match='chunks__second is new and has no default'):
        reopened(index.work_dir, 'Longest', fields)


def test_a_list_of_values_does_not_become_documents(work_dir: Path) -> None:
    """A list that was stored as a value cannot be read as documents of their own."""
    values = Field(default_factory=list, index=False)
    with reopened(work_dir, 'Values', {'words': (list[Word], values)}) as index:
        index.index({'id': 'a', 'words': [{'id': 'x', 'embedding': [1, 2]}]})
    with pytest.raises(SchemaMismatchError, match=r'words is list\[Word\] there and documents here'):
        reopened(work_dir, 'Documents', {'words': (list[Word], PydanticField(default_factory=list))})
