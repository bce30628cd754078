"""Documents in lists on Milvus: filters across levels by their meaning, changes by id, readers, interrupted writes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docindex import BaseDoc, DocList, DocumentError, DocumentNotFoundError, Field, NdArray
from docindex.errors import BatchError, ServerError
from docindex.milvus.index import MilvusDocumentIndex
from docindex.milvus.server import Server
from docindex.parsing import parse
from docindex.schema import Schema
from tests.library import KINDS, Book, Chunk, filters, found_in, means, some_books


class Sentence(BaseDoc):
    text: str = ''
    embedding: NdArray[2]


class File(BaseDoc):
    name: str = Field(default='', full_text=True)
    size: int = 0
    embedding: NdArray[2]
    sentences: DocList[Sentence] = DocList[Sentence]()


class Folder(BaseDoc):
    files: list[File] = Field(default_factory=list)


class User(BaseDoc):
    name: str = ''
    embedding: NdArray[2] | None = None
    folders: DocList[Folder] | None = None


LISTS = ['folders', 'folders__files', 'folders__files__sentences']


def open_index(path: Path, doc_type: Any = User) -> MilvusDocumentIndex[Any]:
    path.mkdir(exist_ok=True)
    return MilvusDocumentIndex[doc_type](uri=path / 'index.db')


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
def index(tmp_path: Path) -> Iterator[MilvusDocumentIndex[User]]:
    with open_index(tmp_path) as index:
        index.index(users())
        yield index


def alike(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def ids(index: MilvusDocumentIndex[User]) -> list[list[str]]:
    """Return the ids of the outermost documents, and of those in each list, each counted too."""
    found = [sorted(index), *(sorted(index.subindex(name)) for name in LISTS)]
    assert [len(index), *(len(index.subindex(name)) for name in LISTS)] == list(map(len, found))
    assert [index.subindex(name).count() for name in LISTS] == list(map(len, found[1:]))
    return found


# -- filters -----------------------------------------------------------------------------------------------


class Library(NamedTuple):
    docs: MilvusDocumentIndex[Book]
    books: list[Book]


@pytest.fixture(scope='module')
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Give books, of whose lists something was deleted and appended."""
    with open_index(tmp_path_factory.mktemp('library'), Book) as index:
        index.index(some_books(1))
        chunks, sentences = index.subindex('chunks'), index.subindex('chunks__sentences')
        chunks.delete(list(chunks)[::4])
        chunks.append('book 3', [Chunk(id='appended', page=1, mark='a', embedding=[0.5, 0.5])])
        sentences.delete(list(sentences)[::3])
        index.update('book 5', title='ab')
        yield Library(index, list(index.get(list(index))))


@given(query=filters('book'))
@settings(max_examples=25)
def test_filters_of_books(library: Library, query: dict[str, Any]) -> None:
    """A filter finds the books that `Filter.matches` says it does, however it reaches into lists."""
    filter_ = parse(Schema(Book), query)
    expected = [book.id for book in library.books if filter_.matches(book)]
    assert library.docs.filter(query, None).id == expected
    assert library.docs.count(query) == len(expected)


@given(query=filters('book'), level=st.sampled_from(list(KINDS)), exact=st.booleans())
@settings(max_examples=25)
def test_filters_where_documents_in_lists_are_found(
    library: Library, query: dict[str, Any], level: str, exact: bool
) -> None:
    """What a filter says of the list whose documents are found, and of those on the way, it says of what is found."""
    expected = [doc.id for book, doc, way in found_in(library.books, level) if means(query, 'book', book, way)]
    found = library.docs.find([0.5, 0.5], f'{level}__embedding', 1000, filter=query, exact=exact)
    assert sorted(found.documents.id) == sorted(expected)


@given(data=st.data(), level=st.sampled_from(list(KINDS)))
@settings(max_examples=15)
def test_filters_of_subindexes(library: Library, data: st.DataObject, level: str) -> None:
    """A subindex takes filters of its documents, by their own names, wherever it is asked."""
    query = data.draw(filters(KINDS[level]))
    expected = sorted(doc.id for _, doc, _ in found_in(library.books, level) if means(query, KINDS[level], doc))
    subindex = library.docs.subindex(level)
    assert sorted(subindex.filter(query, None).id) == expected
    assert subindex.count(query) == len(expected)
    assert sorted(subindex.find([0.5, 0.5], 'embedding', 1000, filter=query).documents.id) == expected


@given(data=st.data(), root_query=filters('book'), level=st.sampled_from(['chunks', 'cover__stickers']))
@settings(max_examples=15)
def test_root_filters(library: Library, data: st.DataObject, root_query: dict[str, Any], level: str) -> None:
    """A root filter lets those documents pass that are in a book that matches, as `filter` finds books."""
    query = data.draw(filters(KINDS[level]) | st.just({}))
    expected = sorted(
        (doc.id, book.id)
        for book, doc, _ in found_in(library.books, level)
        if means(query, KINDS[level], doc) and means(root_query, 'book', book)
    )
    found = library.docs.find_subindex([0.5, 0.5], level, 'embedding', 1000, filter=query, root_filter=root_query)
    assert sorted(zip(found.documents.id, found.root_documents.id, strict=True)) == expected
    filtered = library.docs.filter_subindex(query, level, None, root_filter=root_query)
    assert sorted(filtered.id) == [id_ for id_, _ in expected]


@given(query=filters('chunk'))
@settings(max_examples=10)
def test_filters_of_chunks_where_their_sentences_are_found(library: Library, query: dict[str, Any]) -> None:
    """A subindex finds documents in the lists of its own, with filters by the names of its own."""
    expected = [
        doc.id
        for _, doc, way in found_in(library.books, 'chunks__sentences')
        if means(query, 'chunk', way['chunks'][0], way, 'chunks')
    ]
    found = library.docs.subindex('chunks').find([0.5, 0.5], 'sentences__embedding', 1000, filter=query)
    assert sorted(found.documents.id) == sorted(expected)


# -- changes -----------------------------------------------------------------------------------------------


def test_children_by_their_own_id(index: MilvusDocumentIndex[User]) -> None:
    """A document in a list is updated, deleted and appended by its own id, and its root has it so."""
    files = index.subindex('folders__files')
    files.update(file('photo', 1, 1, size=10))
    del files['letter']
    files.append('ann 1', [{'id': 'x', 'embedding': [0, 1]}, file('y', 0, 2)])
    index.subindex('folders__files__sentences').append('x', sentence('new'))
    index.subindex('folders').append('cid', Folder(id='first', files=[file('f')]))
    inside = index['ann'].folders[0].files
    assert [one.id for one in inside] == ['photo', 'x', 'y']
    assert (inside[0].size, inside[1].sentences.id) == (10, ['new'])
    assert index['cid'].folders[0].files[0].id == 'f'
    assert not index.subindex_contains('s1')
    assert files.roots(['x', 'film']).id == ['ann', 'bob']
    assert index.verify().is_sound


def test_other_fields_leave_the_lists_alone(index: MilvusDocumentIndex[User]) -> None:
    """Changing some fields of a root, or of a document in a list, leaves the lists in it as they are."""
    index.update('ann', name='Anna', embedding=[7, 7])
    index.subindex('folders__files').update('letter', size=33, embedding=[6, 6])
    letter = index['ann'].folders[0].files[1]
    assert (index['ann'].name, letter.size, letter.sentences.id) == ('Anna', 33, ['s1', 's2'])
    assert index.filter({'folders__files__size': 33}).id == ['ann']
    assert index.verify().is_sound


def test_moving_a_child_in_one_call(index: MilvusDocumentIndex[User]) -> None:
    """A document may go from the list of one root to that of another if both are stored in one call."""
    ann, bob = index[['ann', 'bob']]
    bob.folders.append(ann.folders[1])
    with pytest.raises(DocumentError, match="'ann 2' in folders of User 'bob' is taken: it is in folders of 'ann'"):
        index.index(bob)
    index.index([bob, User(id='ann', folders=ann.folders[:1])])
    assert index['bob'].folders.id == ['bob 1', 'ann 2']
    assert index.subindex('folders__files').roots('song').id == ['bob']
    assert index.verify().is_sound


def test_none_and_empty_lists(index: MilvusDocumentIndex[User]) -> None:
    """A list that is None stays None, an empty one stays empty, and filters tell them apart."""
    index.index(User(id='empty', folders=[]))
    assert index['cid'].folders is None
    assert index['empty'].folders == []
    assert index.filter({'folders': None}).id == ['cid']
    assert index.filter({'folders': {'$size': 0}}).id == ['empty']


@pytest.mark.parametrize(
    ('docs', 'message'),
    [
        ([file('n'), file('n')], "its id 'n' is taken by"),
        ([file('photo')], "'photo' in files of Folder 'bob 1' is taken: it is in files of 'ann 1'"),
        ([file('film')], "'bob': .*its id 'film' is taken by"),
        ([file('a', sentences=[sentence('s1')])], "'s1' in sentences of File 'a' is taken"),
        ([{'id': 'n'}], r"\(id 'n'\): embedding: Field required"),
        (3, 'expected Files'),
    ],
)
def test_bad_appends(index: MilvusDocumentIndex[User], docs: Any, message: str) -> None:
    """What cannot be appended is named, and the list stays as it is."""
    with pytest.raises(DocumentError, match=message):
        index.subindex('folders__files').append('bob 1', docs)
    assert [one.id for one in index['bob'].folders[0].files] == ['film']


def test_nobody_is_named(index: MilvusDocumentIndex[User]) -> None:
    """Appending to nobody, and changing or deleting what is not there, are errors that name the id."""
    files = index.subindex('folders__files')
    for call, missing in [
        (lambda: files.append('bob', file('n')), ['bob']),
        (lambda: files.update('ann', size=1), ['ann']),
        (lambda: files.__delitem__(['photo', 'n']), ['n']),
        (lambda: files.roots(['photo', 'n']), ['n']),
    ]:
        with pytest.raises(DocumentNotFoundError) as raised:
            call()
        assert raised.value.ids == missing
    assert len(files) == 4


def test_words_in_lists(index: MilvusDocumentIndex[User]) -> None:
    """Full text in a list is searched by its flat name, and by its own in the subindex; snippets and hybrid too."""
    files = index.subindex('folders__files')
    for found in (index.text_search('home', 'folders__files__name'), files.text_search('home')):
        assert sorted(found.documents.id) == ['letter', 'song']
    assert index.snippets('home', ['letter', 'photo'], 'folders__files__name') == ['a letter **home**', '']
    both = index.hybrid('home', [3, 0], 'folders__files__embedding', 'folders__files__name', limit=1)
    assert both.documents.id == ['letter']
    filter_ = {'folders__files__size': 2, 'name': 'Ann'}
    assert index.text_search('home', 'folders__files__name', filter=filter_).documents.id == ['song']
    query = files.build_query().find([1, 0], limit=2).text_search('home').build()
    assert files.execute_query(query).documents.id[0] == 'song'


@pytest.mark.parametrize('id_', ['"', '\\', "it's", 'a"b\\', '\n', 'é\U0010ffff', "'); DROP TABLE documents; --", '%_'])
def test_the_last_id_of_a_batch_can_be_any(tmp_path: Path, id_: str) -> None:
    """An id that ends a batch, and so begins the next one, harms no expression, be it a root's or one in a list."""
    with open_index(tmp_path) as index, mock.patch('docindex.milvus.server.readable_rows', return_value=1):
        index.index(User(id=id_, folders=[Folder(id=id_, files=[file(id_)]), Folder(id=f'{id_}{id_}')]))
        assert ids(index) == [[id_], [id_, id_ * 2], [id_], []]
        assert index[id_].folders.id == [id_, id_ * 2]
        assert index.filter({'folders__files__size': 0, 'name': {'$ne': 'x'}}).id == [id_]


# -- at the same time, and interrupted -----------------------------------------------------------------------


def test_readers_see_a_root_whole(tmp_path: Path) -> None:
    """While one thread replaces a root, others see it with all children of one version, never of two or in part."""

    def version(number: int) -> User:
        files = [file(f'{number} {at}', number, 0, size=number) for at in range(5)]
        return User(id='u', name=str(number), folders=[Folder(id=f'f{number}', files=files)])

    seen: list[tuple[int, set[str]]] = []
    failures: list[Exception] = []
    is_over = threading.Event()
    with open_index(tmp_path) as index:
        index.index(version(0))

        def look() -> None:
            try:
                while not is_over.is_set():
                    found = index.find_subindex([0, 0], 'folders__files', limit=100)
                    for root in [index['u'], *found.root_documents]:
                        files = root.folders[0].files
                        seen.append((len(files), {root.name, *(str(one.size) for one in files)}))
                    names = {root.name for root in found.root_documents}
                    seen.append((len(found.documents), names | {str(one.size) for one in found.documents}))
                    seen.append((index.subindex('folders__files').count({'size': {'$gte': 0}}), {''}))
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        for number in range(1, 9):
            index.index(version(number))
            sleep(0.15)
        is_over.set()
        thread.join()
    assert failures == []
    assert len(seen) > 20
    assert {(count, len(versions)) for count, versions in seen} == {(5, 1)}


class Killed(BaseException):
    """What ends a process."""


def fails_at(call: str, at: int, error: BaseException) -> Any:
    """Have one of the calls to a server fail before anything has happened."""
    original, calls = getattr(Server, call), iter(range(1000))

    def failing(self: Server, *args: Any) -> Any:
        if next(calls) == at:
            raise error
        return original(self, *args)

    return mock.patch.object(Server, call, failing)


def small_calls() -> Any:
    """Have two rows in a call at most."""
    return mock.patch('docindex.milvus.limits._BATCH_ROWS', 2)


def changed() -> list[User]:
    """Return what replaces users and adds one: each has other lists."""
    return [
        User(id='ann', name='Anna', folders=[Folder(id='ann 2', files=[file('letter', 0, 3, size=9)])]),
        User(id='bob', name='Bobby', folders=[Folder(id='bob 1', files=[file('f1', 5, 5), file('f2', 6, 6)])]),
        User(id='dan', name='Dan', folders=[Folder(id='dan 1', files=[file('d', 7, 7)])]),
    ]


def read_everything(index: MilvusDocumentIndex[User]) -> None:
    """Assert that whatever is read says the same as the documents, each of which is old or new as a whole."""
    old, new = ({user.id: user for user in some} for some in (users(), changed()))
    docs = {id_: index[id_] for id_ in index}
    assert all(any(alike(doc, one.get(id_)) for one in (old, new)) for id_, doc in docs.items())
    folders = [(folder, user) for user in docs.values() for folder in user.folders or []]
    files = [(one, user) for folder, user in folders for one in folder.files]
    assert ids(index) == [
        sorted(docs),
        sorted(folder.id for folder, _ in folders),
        sorted(one.id for one, _ in files),
        sorted(each.id for one, _ in files for each in one.sentences),
    ]
    found = index.find_subindex([0, 0], 'folders__files', limit=100)
    expected = {one.id: (one.size, user.name) for one, user in files}
    assert {
        doc.id: (doc.size, root.name) for doc, root in zip(found.documents, found.root_documents, strict=True)
    } == expected
    for size in (3, 9):  # of a letter before and after
        having = {user.id for one, user in files if one.size == size}
        assert set(index.filter({'folders__files__size': size}).id) == having
        assert set(index.filter({'$not': {'folders__files__size': size}}).id) == docs.keys() - having


@pytest.mark.parametrize('call', ['upsert', 'delete'])
def test_an_interrupted_write_stores_each_document_whole_or_not_at_all(
    index: MilvusDocumentIndex[User], call: str
) -> None:
    """Wherever a write ends, each document is old or new with all its lists, and nothing else is seen anywhere."""
    left_over = 0
    for at in range(20):
        try:
            with small_calls(), fails_at(call, at, Killed()):
                index.index(changed())
            break
        except Killed:
            read_everything(index)
        report = index.verify()
        assert not report.damaged
        assert report.left_over or report.is_sound
        left_over += report.left_over
        if at % 2:  # the same call again
            index.index(changed())
            assert index['ann'].name == 'Anna'
        assert index.verify(repair=True).left_over >= report.left_over
        read_everything(index)
        assert index.verify().is_sound
        index.index(users())
        index.delete('dan')
    assert at > 1
    assert left_over


def test_a_failed_call_says_what_is_stored(index: MilvusDocumentIndex[User]) -> None:
    """A server that fails in the middle leaves documents stored, and the error has their ids."""
    with small_calls(), fails_at('upsert', 5, ServerError('no', index.uri)), pytest.raises(BatchError) as raised:
        index.index(changed())
    assert raised.value.stored == ['ann', 'bob']
    assert [user.name for user in index.get(['ann', 'bob', 'dan'])] == ['Anna', 'Bobby']
    read_everything(index)


@pytest.mark.parametrize(
    'change',
    [
        lambda index: index.delete(['ann', 'bob']),
        lambda index: index.subindex('folders__files').append('ann 1', file('n')),
        lambda index: index.subindex('folders__files').delete(['letter', 'photo']),
        lambda index: index.update('ann', name='A'),
        lambda index: index.subindex('folders__files').update('letter', size=7),
    ],
    ids=['delete', 'append', 'delete in a list', 'update', 'update in a list'],
)
def test_an_interrupted_change_is_made_or_not(tmp_path: Path, change: Callable[[Any], None]) -> None:
    """A change that is interrupted at any call leaves each document as it was, or as it is after the whole change."""
    with open_index(tmp_path / 'whole') as index:
        index.index(users())
        change(index)
        after = {user.id: repr(user) for user in index.get(list(index))}
    before = {user.id: repr(user) for user in users()}
    for call in ('upsert', 'delete'):
        with open_index(tmp_path / call) as index:
            for at in range(4):
                index.index(copy.deepcopy(users()))
                try:
                    with small_calls(), fails_at(call, at, Killed()):
                        change(index)
                except Killed:
                    pass
                now = {user.id: repr(user) for user in index.get(list(index))}
                assert all(now.get(id_) in (before[id_], after.get(id_)) for id_ in before)
                inside = [one.id for user in index.get(list(index)) for one in user.folders or []]
                assert sorted(index.subindex('folders')) == sorted(inside)
            assert index.verify(repair=True).is_sound
            assert index.verify().left_over == 0
