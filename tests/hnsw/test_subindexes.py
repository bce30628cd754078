"""Documents in lists as users meet them: what can be called, what comes back, and what is refused."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic import Field as PydanticField

from docindex import (
    BaseDoc,
    DimensionError,
    DocList,
    DocumentError,
    DocumentNotFoundError,
    Field,
    HnswDocumentIndex,
    IdTypeError,
    NdArray,
    QueryError,
    ReadOnlyError,
    SchemaError,
    VectorError,
)


class Sentence(BaseDoc):
    text: str = ''
    embedding: NdArray[2]


class File(BaseDoc):
    name: str = Field(default='', full_text=True)
    size: int = 0
    embedding: NdArray[2]
    sentences: DocList[Sentence] = DocList[Sentence]()


class Folder(BaseDoc):
    files: list[File] = PydanticField(default_factory=list)


class User(BaseDoc):
    name: str = ''
    embedding: NdArray[2] | None = None
    folders: DocList[Folder] | None = None


Index = HnswDocumentIndex[User]


def sentence(id_: str, *at: float) -> Sentence:
    return Sentence(id=id_, text=f'text of {id_}', embedding=at or (0, 0))


def file(id_: str, *at: float, **others: Any) -> File:
    return File(id=id_, embedding=at or (0, 0), **others)


def users() -> list[User]:
    """Ann with two folders, Bob with one, Cid with none."""
    letter = file('letter', 3, 0, name='a letter home', size=3, sentences=[sentence('s1', 1, 1), sentence('s2', 2, 2)])
    return [
        User(
            id='ann',
            name='Ann',
            folders=[
                Folder(id='ann 1', files=[file('photo', 1, 0, size=1, name='a photo'), letter]),
                Folder(id='ann 2', files=[file('song', 2, 0, size=2, name='a song of home')]),
            ],
        ),
        User(id='bob', name='Bob', folders=[Folder(id='bob 1', files=[file('film', 4, 0, size=4, name='film')])]),
        User(id='cid', name='Cid'),
    ]


@pytest.fixture
def index(work_dir: Path) -> Iterator[Index]:
    with Index(work_dir=work_dir) as index:
        index.index(users())
        yield index


def alike(one: Any, other: Any) -> bool:
    """Return whether two documents, or lists of them, say the same."""
    return repr(one) == repr(other)


# -- searching ---------------------------------------------------------------------------------------------


def test_find_in_a_list(index: Index) -> None:
    """`find` with the flat name of a field in a list returns the documents that are in it, nearest first."""
    found = index.find([1, 0], 'folders__files__embedding', limit=3)
    assert found.documents.id == ['photo', 'song', 'letter']
    assert found.scores.tolist() == [0, 1, 4]
    assert type(found.documents) is DocList[File]
    assert found.documents[2].sentences.id == ['s1', 's2']


def test_find_subindex(index: Index) -> None:
    """`find_subindex` returns the roots too, complete, a root once for each of its documents that is found."""
    roots, docs, scores = index.find_subindex([1, 0], 'folders__files', 'embedding', limit=4)
    assert docs.id == ['photo', 'song', 'letter', 'film']
    assert roots.id == ['ann', 'ann', 'ann', 'bob']
    assert scores.tolist() == [0, 1, 4, 9]
    assert all(alike(root, index[root.id]) for root in roots)


def test_find_subindex_with_filters(index: Index) -> None:
    """`filter` names the fields of what is found, `root_filter` those of the documents it is in."""
    found = index.find_subindex([1, 0], 'folders__files', filter={'size': {'$gte': 2}}, root_filter={'name': 'Ann'})
    assert found.documents.id == ['song', 'letter']
    both = {'filter': {'size': {'$gte': 2}}, 'root_filter': {'folders__files__name': {'$contains': 'photo'}}}
    assert index.find_subindex([1, 0], 'folders__files', **both).documents.id == ['song', 'letter']


def test_filters_from_root_to_child_and_back(index: Index) -> None:
    """Roots are found by what is in their lists, and what is in lists by what it is in."""
    assert index.filter({'folders__files__size': {'$gte': 3}}).id == ['ann', 'bob']
    found = index.find([1, 0], 'folders__files__embedding', filter={'name': 'Bob'})
    assert found.documents.id == ['film']
    assert index.filter_subindex({'size': {'$lt': 3}}, 'folders__files', root_filter={'name': 'Bob'}) == []


def test_group_by_root(index: Index) -> None:
    """With `group_by_root` each root comes once, at the distance of the nearest document in it."""
    found = index.find([1, 0], 'folders__files__embedding', limit=2, group_by_root=True)
    assert found.documents.id == ['ann', 'bob']
    assert found.scores.tolist() == [0, 9]
    batched = index.find_batched([[4, 0], [1, 0]], 'folders__files__embedding', limit=1, group_by_root=True)
    assert [docs.id for docs in batched.documents] == [['bob'], ['ann']]


def test_a_root_with_many_near_children_does_not_hide_the_others(work_dir: Path) -> None:
    """As many roots are found as are asked for, however many of the nearest are in one of them."""
    with Index(work_dir=work_dir) as index:
        crowd = [file(f'{at}', 0, at / 1000) for at in range(300)]
        index.index(User(id='crowd', folders=[Folder(id='all', files=crowd)]))
        index.index(
            [User(id=f'u{at}', folders=[Folder(id=f'of {at}', files=[file(f'f{at}', 9, at)])]) for at in (1, 2)]
        )
        found = index.find([0, 0], 'folders__files__embedding', limit=3, group_by_root=True)
        assert found.documents.id == ['crowd', 'u1', 'u2']


def test_subindex_contains(index: Index) -> None:
    """`subindex_contains` knows documents in lists at any depth, by id and as documents, and no roots."""
    assert all(index.subindex_contains(id_) for id_ in ('ann 1', 'photo', 's2'))
    assert index.subindex_contains(sentence('s1'))
    assert not index.subindex_contains('ann')
    with pytest.raises(IdTypeError, match='expected an id or a document'):
        index.subindex_contains(3)


def test_a_document_asked_for_twice_has_its_lists_twice(index: Index) -> None:
    """Whoever asks for one document several times gets it complete each time."""
    assert all(alike(doc, users()[0]) for doc in [*index.get(['ann', 'ann']), *index[['ann', 'ann']]])
    files = index.find_batched([[3, 0], [3, 0]], 'folders__files__embedding', limit=1).documents
    assert [each[0].sentences.id for each in files] == [['s1', 's2']] * 2
    assert all(len(root.folders) == 2 for root in index.subindex('folders__files').roots(['photo', 'song', 'letter']))


def test_words_in_lists(index: Index) -> None:
    """Full text in a list is searched by its flat name, and by its own in the subindex; snippets and hybrid too."""
    for found in (
        index.text_search('home', 'folders__files__name'),
        index.subindex('folders__files').text_search('home'),
    ):
        assert sorted(found.documents.id) == ['letter', 'song']
    assert index.snippets('home', ['letter', 'photo'], 'folders__files__name') == ['a letter **home**', '']
    assert index.subindex('folders__files').snippets('home', ['song']) == ['a song of **home**']
    both = index.hybrid('home', [3, 0], 'folders__files__embedding', 'folders__files__name', limit=1)
    assert both.documents.id == ['letter']
    one = index.text_search('home', 'folders__files__name', filter={'folders__files__size': 2}).documents.id
    assert one == ['song']


def test_words_among_what_was_limited(index: Index) -> None:
    """A step that searches words among what a limited step has left works in lists as elsewhere."""
    query = index.subindex('folders__files').build_query().find([1, 0], limit=2).text_search('home').build()
    assert index.subindex('folders__files').execute_query(query).documents.id[0] in ('song', 'photo')
    query = index.build_query().find([1, 0], 'folders__files__embedding', 2).filter({'name': 'Ann'}).build()
    assert index.execute_query(query).documents.id == ['photo', 'song']


def test_sorting_and_selecting_belong_to_the_subindex(index: Index) -> None:
    """A subindex sorts and selects by its own fields; where only its documents are found, the error says so."""
    files = index.subindex('folders__files')
    assert files.filter(None, sort='size', descending=True).id == ['film', 'letter', 'song', 'photo']
    assert [doc.size for doc in files.execute_query(files.build_query().filter(None).select('size').build())[0]] != []
    query = index.build_query().find([1, 0], 'folders__files__embedding').select('name').build()
    with pytest.raises(QueryError, match="ask subindex\\('folders__files'\\)"):
        index.execute_query(query)


def test_one_query_finds_one_kind_of_document(index: Index) -> None:
    """A query that searches documents of two levels is refused."""
    with pytest.raises(QueryError, match='finds documents of one kind'):
        index.hybrid('home', [3, 0], 'embedding', 'folders__files__name')


@pytest.mark.parametrize(
    ('subindex', 'message'),
    [
        ('file', "'file' is no list of documents in User; the lists of documents are folders, folders__files, "),
        ('', 'subindex is missing; the lists of documents are folders'),
        (3, 'is no list of documents'),
    ],
)
def test_unknown_lists(index: Index, subindex: Any, message: str) -> None:
    """A list that does not exist is an error that names those that do."""
    with pytest.raises(QueryError, match=message):
        index.subindex(subindex)
    with pytest.raises(QueryError, match=message):
        index.find_subindex([0, 0], subindex)


def test_the_only_subindex_need_not_be_named(work_dir: Path) -> None:
    """Where there is one list with one vector field, neither has to be named."""

    class Poem(BaseDoc):
        lines: DocList[Sentence]

    with HnswDocumentIndex[Poem](work_dir=work_dir) as index:
        index.index(Poem(id='p', lines=[sentence('l', 1, 1)]))
        assert index.find_subindex([0, 0]).documents.id == ['l']
        assert index.find([0, 0]).documents.id == ['l']
        assert index.subindex().num_docs() == 1


# -- writing -----------------------------------------------------------------------------------------------


def test_a_root_comes_back_complete_and_in_order(index: Index) -> None:
    """What is stored comes back with all that is in its lists, in order, also after the index was opened again."""
    assert [alike(index[user.id], user) for user in users()] == [True] * 3
    index.close()
    with Index(work_dir=index.work_dir) as again:
        assert [alike(again[user.id], user) for user in users()] == [True] * 3
        assert again.verify().is_sound


def test_none_and_empty_lists(work_dir: Path) -> None:
    """A list that is None stays None, an empty one stays empty, and filters tell them apart."""
    with Index(work_dir=work_dir) as index:
        index.index([User(id='none'), User(id='empty', folders=[])])
        assert index['none'].folders is None
        assert index['empty'].folders == []
        assert index.filter({'folders': None}).id == ['none']
        assert index.filter({'folders': {'$size': 0}}).id == ['empty']


def test_deleting_a_root_deletes_what_is_in_it(index: Index) -> None:
    """With a root go all documents in its lists, at any depth."""
    index.delete('ann')
    assert [list(index.subindex(name)) for name in ('folders', 'folders__files', 'folders__files__sentences')] == [
        ['bob 1'],
        ['film'],
        [],
    ]
    assert index.find([1, 0], 'folders__files__embedding').documents.id == ['film']
    assert index.verify().is_sound


def test_updating_a_root_replaces_its_lists(index: Index) -> None:
    """A root that is stored again has the new lists and nothing of the old ones."""
    index.update(User(id='ann', folders=[Folder(id='new', files=[file('photo', 5, 5)])]))
    assert sorted(index.subindex('folders__files')) == ['film', 'photo']
    assert index.find([5, 5], 'folders__files__embedding', 1).scores.tolist() == [0]


def test_other_fields_leave_the_lists_alone(index: Index) -> None:
    """Changing some fields of a root, or of a document in a list, leaves the lists in it as they are."""
    index.update('ann', name='Anna', embedding=[7, 7])
    index.subindex('folders__files').update('letter', size=33, embedding=[6, 6])
    letter = index['ann'].folders[0].files[1]
    assert (index['ann'].name, letter.size, letter.sentences.id) == ('Anna', 33, ['s1', 's2'])
    assert index.verify().is_sound


def test_other_fields_of_many_leave_the_lists_alone(index: Index) -> None:
    """Changing some fields of many, on any level, leaves their lists and places; a list that changes is replaced."""
    files = index.subindex('folders__files')
    files.update({'letter': {'size': 33}, 'photo': {'size': 34}})
    assert (files['letter'].size, files['photo'].size) == (33, 34)
    assert files['letter'].sentences.id == ['s1', 's2']
    files.update({'letter': {'embedding': [6, 6], 'sentences': []}, 'photo': {'size': 35}})
    assert (len(files['letter'].sentences), files['photo'].size) == (0, 35)
    assert sorted(file.id for folder in index['ann'].folders for file in folder.files) == ['letter', 'photo', 'song']
    with pytest.raises(QueryError, match=r"'photo': .*embeding"):
        files.update({'letter': {'size': 1}, 'photo': {'embeding': [1, 1]}})
    assert files['letter'].size == 33
    assert index.verify().is_sound


def test_children_by_their_own_id(index: Index) -> None:
    """A document in a list is updated, deleted and appended by its own id, and its root has it so."""
    files = index.subindex('folders__files')
    files.update(file('photo', 1, 1, size=10))
    del files['letter']
    files.append('ann 1', [{'id': 'x', 'embedding': [0, 1]}, file('y', 0, 2)])
    index.subindex('folders__files__sentences').append('x', sentence('new'))
    inside = index['ann'].folders[0].files
    assert [one.id for one in inside] == ['photo', 'x', 'y']
    assert (inside[0].size, inside[1].sentences.id) == (10, ['new'])
    assert not index.subindex_contains('s1')
    assert index.verify().is_sound


def test_appending_to_none(index: Index) -> None:
    """A list that is None begins with what is appended, unless that is refused; then it stays None."""
    folders = index.subindex('folders')
    with pytest.raises(DocumentError, match='taken'):
        folders.append('cid', Folder(id='ann 1'))
    assert index['cid'].folders is None
    folders.append('cid', Folder(id='cid 1', files=[file('f')]))
    assert [one.id for one in index['cid'].folders[0].files] == ['f']
    with index.batch():
        folders.append('cid', Folder(id='cid 2'))
    assert index['cid'].folders.id == ['cid 1', 'cid 2']


def test_moving_a_child_in_one_call(index: Index) -> None:
    """A document may go from the list of one root to that of another if both are stored in one call."""
    ann, bob = index[['ann', 'bob']]
    bob.folders.append(ann.folders[1])
    index.index([bob, User(id='ann', folders=ann.folders[:1])])
    assert index['bob'].folders.id == ['bob 1', 'ann 2']
    assert index.subindex('folders__files').roots('song').id == ['bob']
    assert index.verify().is_sound


def test_roots_of_children(index: Index) -> None:
    """`roots` returns the indexed documents that some in lists are in; an unknown id is an error."""
    assert index.subindex('folders__files__sentences').roots('s2').id == ['ann']
    with pytest.raises(DocumentNotFoundError, match='nobody'):
        index.subindex('folders').roots(['ann 1', 'nobody'])


def test_documents_of_the_caller_stay_as_they_are(work_dir: Path) -> None:
    """No call modifies what it was given: documents, dictionaries, lists."""
    given, dicts = users(), [user.model_dump() for user in users()]
    kept, kept_dicts = copy.deepcopy(given), copy.deepcopy(dicts)
    more = [file('more', 1, 1)]
    with Index(work_dir=work_dir) as index:
        for docs in (given, dicts):
            index.index(docs)
            index.update(docs)
        index.subindex('folders__files').append('bob 1', more)
        index.subindex('folders').update(given[0].folders)
        index.update('ann', folders=given[0].folders)
    assert (repr(given), repr(dicts), repr(more)) == (repr(kept), repr(kept_dicts), repr([file('more', 1, 1)]))
    assert all(type(folder.files) is list for user in given for folder in user.folders or [])


def test_a_reader_sees_lists_but_does_not_write(index: Index) -> None:
    """A handle that only reads has subindexes too, and refuses to change them."""
    with Index(work_dir=index.work_dir, read_only=True) as reader:
        index.subindex('folders__files').append('bob 1', file('new', 8, 8))
        assert reader.find([8, 8], 'folders__files__embedding', 1).documents.id == ['new']
        for call in (
            lambda: reader.subindex('folders').append('cid', Folder(id='f')),
            lambda: reader.subindex('folders').delete('ann 1'),
            lambda: reader.subindex('folders__files').update('new', size=1),
        ):
            with pytest.raises(ReadOnlyError):
                call()


def test_async_twins(work_dir: Path) -> None:
    """Each call about documents in lists has a twin for async code."""

    async def story() -> list[Any]:
        async with Index(work_dir=work_dir) as index:
            await index.aindex(users())
            files = index.subindex('folders__files')
            await files.aappend('bob 1', file('new', 8, 8))
            await files.aupdate('new', size=9)
            await files.adelete('film')
            found = await index.afind_subindex([8, 8], 'folders__files', limit=1)
            several = await index.afilter_subindex({'size': 9}, 'folders__files')
            one = await index.afind([8, 8], 'folders__files__embedding', 1, group_by_root=True)
            return [
                found.root_documents.id,
                found.documents.size,
                several.id,
                one.documents.id,
                await index.asubindex_contains('film'),
                (await files.aget('new')).id,
                await files.acount({'size': 9}),
            ]

    assert asyncio.run(story()) == [['bob'], [9], ['new'], ['bob'], False, 'new', 1]


# -- bad input ---------------------------------------------------------------------------------------------


def no_vector(id_: str) -> File:
    return File.model_construct(id=id_, name='', size=0, embedding=None, sentences=DocList[Sentence]())


@pytest.mark.parametrize(
    ('files', 'error', 'message'),
    [
        ([file('a'), no_vector('b')], DocumentError, r"'new'.*folders\[0\]\.files\[1\] \(id 'b'\): field 'embedding'"),
        ([{'id': 'a', 'embedding': [0, 0]}, {'id': 'b'}], DocumentError, r"'new'.*folders__0__files__1__embedding"),
        ([{'id': 'a', 'embedding': [0, 0, 0]}], DimensionError, r"'new'.*folders__0__files__0__embedding"),
        ([File.model_construct(id='a', embedding=np.array([np.nan, 0]))], VectorError, r"'new'.*files\[0\].*NaN"),
        ([file('a'), file('b'), file('a')], DocumentError, r"files\[2\]: its id 'a' is taken by .*files\[0\]"),
        ([file('photo')], DocumentError, r"'photo' in files of Folder 'f' is taken: it is in files of 'ann 1'"),
        ([File.model_construct(id='', embedding=[0, 0])], DocumentError, r"'new'.*files\[0\].*id is empty"),
        ([file('a', sentences=[sentence('s1')])], DocumentError, "'s1' in sentences of File 'a' is taken"),
        ([File.model_construct(id=3, embedding=[0, 0])], IdTypeError, r'files\[0\].*an id is a string'),
    ],
)
def test_bad_children(index: Index, files: list[Any], error: type[Exception], message: str) -> None:
    """A document in a list that cannot be stored is named by its root, place and field; nothing of the call is."""
    new: Any = {'id': 'new', 'folders': [{'id': 'f', 'files': files}]}
    if any(isinstance(one, File) for one in files):
        new = User(id='new', folders=[Folder.model_construct(id='f', files=files)])
    with pytest.raises(error, match=message):
        index.index([User(id='other', folders=[Folder(id='of other')]), new])
    assert list(index) == ['ann', 'bob', 'cid']
    assert list(index.subindex('folders')) == ['ann 1', 'ann 2', 'bob 1']
    assert index.verify().is_sound


def test_duplicates_under_two_roots_of_one_call(index: Index) -> None:
    """Two roots of one call cannot have the same child; the error says where both are."""
    both = [User(id=id_, folders=[Folder(id='same')]) for id_ in ('one', 'two')]
    with pytest.raises(
        DocumentError, match=r"'two'\): folders\[0\]: its id 'same' is taken by .*'one'\): folders\[0\]"
    ):
        index.index(both)
    assert 'one' not in index


@pytest.mark.parametrize(
    ('docs', 'message'),
    [
        ([file('n'), file('n')], r"files\[2\]: its id 'n' is taken by .*files\[1\]"),
        ([file('photo')], "'photo' in files of Folder 'bob 1' is taken: it is in files of 'ann 1'"),
        ([file('film')], "'film' in files of Folder 'bob 1' is taken"),
        ([no_vector('n')], r"folders 'bob 1': files\[1\] \(id 'n'\): field 'embedding' is missing"),
        ([{'id': 'n'}], r"\(id 'n'\): embedding: Field required"),
        (3, 'expected Files'),
    ],
)
def test_bad_appends(index: Index, docs: Any, message: str) -> None:
    """What cannot be appended is named, and the list stays as it is."""
    with pytest.raises(DocumentError, match=message):
        index.subindex('folders__files').append('bob 1', docs)
    assert [one.id for one in index['bob'].folders[0].files] == ['film']


def test_unknown_parents_and_children(index: Index) -> None:
    """Appending to nobody, and changing or deleting what is not there, are errors that name the id."""
    files = index.subindex('folders__files')
    for call in (
        lambda: files.append('bob', file('n')),
        lambda: files.update('ann', size=1),
        lambda: files.update(file('n')),
        lambda: files.__delitem__(['photo', 'n']),
    ):
        with pytest.raises(DocumentNotFoundError):
            call()
    assert files.num_docs() == 4


# -- schemas -----------------------------------------------------------------------------------------------


class Plain(BaseModel):
    """A chunk that is no BaseDoc."""

    model_config = ConfigDict(extra='allow', frozen=True)
    id: str
    page: int = PydanticField(default=0, alias='pageNumber')
    embedding: NdArray[2]

    @field_validator('page')
    @classmethod
    def not_negative(cls, page: int) -> int:
        assert page >= 0, 'negative'
        return page


class Frames(BaseDoc):
    frames: list[Plain] = PydanticField(default_factory=list)


class Film(BaseDoc):
    model_config = ConfigDict(frozen=True)
    poster: Frames | None = None
    first: list[Plain] = PydanticField(min_length=1)
    second: list[Plain] = PydanticField(default_factory=list)
    values: list[Plain] = Field(default_factory=list, index=False)

    @model_validator(mode='after')
    def has_a_first(self) -> Film:
        assert self.first, 'empty'
        return self


def plain(id_: str, **others: Any) -> Plain:
    return Plain(id=id_, embedding=[1, 2], **others)


def test_classes_of_all_sorts(work_dir: Path) -> None:
    """Lists in nested documents, plain pydantic classes, frozen ones, aliases, extras and validators all work."""
    odd = ['a__b', '0', "it's", '"', 'é\U0010ffff', '%_', "'); DROP TABLE documents; --", ' ', 'a\0b']
    film = Film(
        id='film',
        poster=Frames(id='p', frames=[plain(id_, pageNumber=3, more=[1]) for id_ in odd]),
        first=[plain('same')],
        second=[plain('same')],
        values=[plain('same'), plain('same')],
    )
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        index.index([film, Film(id='none', first=[plain('other')])])
        assert alike(index['film'], film)
        assert index['none'].poster is None
        assert sorted(index.subindex('poster__frames')) == sorted(odd)
        assert all(index.subindex('poster__frames')[id_].more == [1] for id_ in odd)
        index.subindex('poster__frames').update('0', page=7)
        index.subindex('first').append('film', {'id': 'last', 'pageNumber': 1, 'embedding': [0, 0]})
        index.update('film', second=[])
        assert [one.page for one in index['film'].poster.frames][:3] == [3, 7, 3]
        assert [one.id for one in index['film'].first] == ['same', 'last']
        assert index['film'].second == []
        assert index.filter({'poster__frames__page': 7}).id == ['film']
        with pytest.raises(DocumentError, match='negative'):
            index.subindex('first').update('last', page=-1)
        with pytest.raises(QueryError, match='no list of documents'):
            index.subindex('values')
        assert index.verify().is_sound


def test_appending_into_a_document_that_is_none(work_dir: Path) -> None:
    """A list in a nested document that is None cannot be appended to; the error says what to set."""
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        index.index(Film(id='none', first=[plain('other')]))
        with pytest.raises(DocumentError, match='poster is None in this document; set it as a whole'):
            index.subindex('poster__frames').append('none', plain('new'))


class Node(BaseDoc):
    name: str = ''
    embedding: NdArray[2] | None = None
    nodes: list[Node] = PydanticField(default_factory=list)


def test_recursive_classes_stay_values(work_dir: Path) -> None:
    """A list of the class itself has no end of levels, so it is stored as one value."""
    with HnswDocumentIndex[Node](work_dir=work_dir) as index:
        index.index(Node(id='a', embedding=[0, 0], nodes=[Node(id='b', nodes=[Node(id='c')])]))
        assert index['a'].nodes[0].nodes[0].id == 'c'
        assert not index.subindex_contains('b')
        with pytest.raises(QueryError, match='there are no lists of documents'):
            index.subindex('nodes')


@pytest.mark.parametrize('name', ['files__embedding', 'files__other', 'files__0'])
def test_fields_called_like_those_in_a_list(name: str, work_dir: Path) -> None:
    """A field with a flat name that could be one of the documents in a list is refused."""
    annotations = {'files': list[File], name: NdArray[2] | None}
    odd = type('Odd', (BaseDoc,), {'__annotations__': annotations, name: None, '__module__': __name__})
    with pytest.raises(SchemaError, match="called like a field of the documents in 'files'"):
        HnswDocumentIndex[odd](work_dir=work_dir)  # type: ignore[valid-type]


def test_a_list_cannot_be_searched_itself(work_dir: Path) -> None:
    """Settings of a vector or of full text at a list of documents are refused."""

    class Odd(BaseDoc):
        files: list[File] = Field(default_factory=list, full_text=True)

    with pytest.raises(SchemaError, match='a list of documents has no full_text'):
        HnswDocumentIndex[Odd](work_dir=work_dir)


def test_the_same_id_at_different_levels(work_dir: Path) -> None:
    """An id has to be unique in its level only."""
    same = User(id='x', folders=[Folder(id='x', files=[file('x', sentences=[sentence('x')])])])
    with Index(work_dir=work_dir) as index:
        index.index(same)
        assert alike(index['x'], same)
        index.subindex('folders__files').delete('x')
        assert [index['x'].folders[0].files, list(index.subindex('folders__files__sentences'))] == [[], []]


# -- much, and at the same time ----------------------------------------------------------------------------


class Cell(BaseDoc):
    embedding: NdArray = Field(dim=64, index=False)


class Sheet(BaseDoc):
    cells: list[Cell] = PydanticField(default_factory=list)


def test_a_root_with_many_children_streams(work_dir: Path) -> None:
    """While 20,000 documents of one root are stored, much less than their vectors take is in memory besides them."""
    vectors = np.random.default_rng(0).random((20_000, 64), np.float32)
    sheet = Sheet(id='sheet', cells=[Cell(id=str(at), embedding=one) for at, one in enumerate(vectors)])
    with HnswDocumentIndex[Sheet](work_dir=work_dir, durability='process') as index:
        tracemalloc.start()
        index.index(sheet)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * vectors.nbytes
        assert index.subindex('cells').num_docs() == 20_000
        assert index.subindex('cells').find(vectors[123], limit=1, exact=True).documents.id == ['123']


@pytest.mark.parametrize('read_only', [False, True])
def test_readers_see_a_root_whole(work_dir: Path, read_only: bool) -> None:
    """While one thread replaces a root, others see it with all children of one version, never of two or in part."""

    def version(number: int) -> User:
        files = [file(f'{number} {at}', number, 0, size=number) for at in range(10)]
        return User(id='u', name=str(number), folders=[Folder(id=f'f{number}', files=files)])

    seen: list[tuple[str, int, set[int]]] = []
    is_over = threading.Event()
    with Index(work_dir=work_dir, durability='process') as index:
        index.index(version(0))
        with Index(work_dir=work_dir, durability='process', read_only=True) as reader:
            asked = reader if read_only else index

            def look() -> None:
                while not is_over.is_set():
                    found = asked.find_subindex([0, 0], 'folders__files', limit=100, exact=True)
                    for root in [asked['u'], *found.root_documents]:
                        files = root.folders[0].files
                        seen.append((root.name, len(files), {one.size for one in files}))
                    seen.append((found.root_documents[0].name, len(found.documents), set(found.documents.size)))

            threads = [threading.Thread(target=look) for _ in range(2)]
            for thread in threads:
                thread.start()
            for number in range(1, 40):
                index.index(version(number))
            is_over.set()
            for thread in threads:
                thread.join()
    assert {(count, sizes == {int(name)}) for name, count, sizes in seen} == {(10, True)}


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc to count open files')
def test_documents_that_are_kept_keep_no_files_open(work_dir: Path) -> None:
    """A program that keeps what it reads while it writes does not run out of file descriptors."""
    with HnswDocumentIndex[File](work_dir=work_dir) as index:
        kept: list[File | None] = []
        for at in range(60):
            index.index([File(id=str(at), embedding=[at, 0], sentences=[sentence(f'{at} 0', at, 1)])])
            kept.append(index.get(str(at)))
        opened = [path for path in [*Path('/proc/self/fd').iterdir()] if os.path.lexists(path)]
        assert sum(str(work_dir) in str(path.readlink()) for path in opened) < 30
    assert [one.sentences[0].embedding[0] for one in kept if one is not None] == list(range(60))
