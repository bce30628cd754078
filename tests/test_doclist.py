import copy
import operator
import pickle
from typing import Any, NewType

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from docindex import BaseDoc, DocList, NdArray
from docindex.errors import DocIndexError


class Author(BaseModel):
    name: str


class Book(BaseDoc):
    title: str = ''
    author: Author = Author(name='')
    v: NdArray | None = None
    editor: Author | None = None


class Novel(Book):
    pass


class Shelf(BaseModel):
    books: DocList[Book]
    things: DocList = DocList()


def books(*titles: str) -> DocList[Book]:
    return DocList[Book]([Book(id=title, title=title, author=Author(name=title.upper())) for title in titles])


@pytest.mark.parametrize(
    'add',
    [
        lambda books, it: DocList[Book]([it]),
        lambda books, it: books.append(it),
        lambda books, it: books.insert(0, it),
        lambda books, it: books.extend([Book(), it]),
        lambda books, it: books.__iadd__([Book(), it]),
        lambda books, it: books.__setitem__(0, it),
        lambda books, it: books.__setitem__(slice(0, 1), [it]),
    ],
    ids=['new', 'append', 'insert', 'extend', '+=', '[0]', '[0:1]'],
)
@pytest.mark.parametrize('wrong', [Author(name='x'), 'a', None], ids=['model', 'str', 'None'])
def test_a_typed_list_refuses_others(add: Any, wrong: object) -> None:
    """Whatever is no `Book` never gets into a `DocList[Book]`, and the list stays as it was."""
    shelf = books('a', 'b')
    with pytest.raises(TypeError, match=r'DocList\[Book\] holds Books, got'):
        add(shelf, wrong)
    assert shelf.title == ['a', 'b']


def test_a_typed_list_takes_subclasses() -> None:
    """A `Novel` is a `Book`."""
    shelf = books('a')
    shelf.append(Novel(title='n'))
    shelf += [Novel(title='m')]
    assert shelf.title == ['a', 'n', 'm']


def test_an_untyped_list_takes_anything() -> None:
    """`DocList` without a class is a list."""
    assert DocList([Book(), Author(name='x')])[1].name == 'x'


def test_the_same_class_is_the_same_list_type() -> None:
    """`DocList[Book]` is one class, a subclass of `DocList` and of list."""
    assert DocList[Book] is DocList[Book]
    assert issubclass(DocList[Book], DocList)
    assert isinstance(books('a'), list)
    assert DocList[Book].__name__ == 'DocList[Book]'


def test_columns() -> None:
    """A field's name is the list of its values, and for nested documents a `DocList` with columns of its own."""
    shelf = books('a', 'b')
    assert shelf.title == ['a', 'b']
    assert isinstance(shelf.author, DocList)
    assert shelf.author.name == ['A', 'B']
    assert books().author.name == []


@pytest.mark.parametrize('name', ['colour', '__nothing__'])
def test_an_unknown_column_is_an_attribute_error(name: str) -> None:
    """A name that is no field's is an AttributeError, for typed and untyped lists."""
    for shelf in (books('a'), DocList([Book()])):
        with pytest.raises(AttributeError, match=name):
            getattr(shelf, name)


def test_columns_can_be_assigned() -> None:
    """Assigning a column sets the field in each document, validated there."""
    shelf = books('a', 'b')
    shelf.title = ['c', 'd']
    assert [book.title for book in shelf] == ['c', 'd']
    with pytest.raises(ValidationError):
        shelf.title = ['e', 5]


@pytest.mark.parametrize(
    ('name', 'values', 'error'), [('title', ['a'], ValueError), ('colour', [1, 2], AttributeError)]
)
def test_a_column_that_does_not_fit_is_refused(name: str, values: list[Any], error: type[Exception]) -> None:
    """A column of another length, or of no field, is refused and nothing is set."""
    shelf = books('a', 'b')
    with pytest.raises(error, match=name):
        setattr(shelf, name, values)
    assert shelf.title == ['a', 'b']


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        (slice(1, None), ['b', 'c']),
        ([2, 0], ['c', 'a']),
        ((1,), ['b']),
        (np.array([0, -1]), ['a', 'c']),
        ([True, False, True], ['a', 'c']),
        (np.array([False, True, False]), ['b']),
        ([], []),
        (np.array([], bool), IndexError),
        ([True], IndexError),
        ([3], IndexError),
    ],
    ids=str,
)
def test_several_at_once(key: Any, expected: Any) -> None:
    """A slice, positions or a mask of the right length give a list of the same class."""
    shelf = books('a', 'b', 'c')
    if isinstance(expected, list):
        assert shelf[key].title == expected
        assert type(shelf[key]) is DocList[Book]
    else:
        with pytest.raises(expected):
            shelf[key]


@pytest.mark.parametrize('key', [0, -3, np.int64(0)], ids=repr)
def test_one_at_a_time(key: Any) -> None:
    """A single position gives the document."""
    assert books('a', 'b', 'c')[key].title == 'a'


def test_a_repr_shows_the_first_few() -> None:
    """A long list says how long it is, and shows five."""
    text = repr(books(*map(str, range(100))))
    assert text.startswith("<DocList[Book] of 100: [Book(id='0'")
    assert text.endswith('... 95 more]>')


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda books: pickle.loads(pickle.dumps(books))])
def test_a_copy_keeps_its_class(copied: Any) -> None:
    """Copies and pickles are lists of the same class with equal documents."""
    shelf = books('a', 'b')
    again = copied(shelf)
    assert type(again) is DocList[Book]
    assert again == shelf
    assert again is not shelf


def test_a_field_of_documents() -> None:
    """In a model a `DocList[Book]` is validated item by item, from documents or dicts, and dumped as a list."""
    shelf = Shelf.model_validate({'books': [{'title': 'a'}, Book(title='b')]})
    assert type(shelf.books) is DocList[Book]
    assert shelf.books.title == ['a', 'b']
    assert [book['title'] for book in shelf.model_dump()['books']] == ['a', 'b']
    with pytest.raises(ValidationError, match='books'):
        Shelf.model_validate({'books': [{'title': 5}]})


def test_errors_are_builtins() -> None:
    """A list is a list: its errors are Python's own, not the index's."""
    with pytest.raises(TypeError) as raised:
        books().append('x')  # type: ignore[arg-type]
    assert not isinstance(raised.value, DocIndexError)


def test_tensors_stack() -> None:
    """A tensor column is one array where all have one shape, and a list where one is missing or differs."""
    shelf = books('a', 'b')
    assert shelf.v == [None, None]
    shelf.v = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert shelf.v.shape == (2, 3)
    assert shelf.v.dtype == np.float32
    assert shelf[1].v.tolist() == [3, 4, 5]
    shelf[0].v = [1, 2]
    assert isinstance(shelf.v, list)
    assert books().v == []


Look = NewType('Look', NdArray[2])  # type: ignore[valid-newtype]
Writer = NewType('Writer', Author)


class Film(BaseDoc):
    writer: Writer
    look: Look


def test_a_name_of_a_type_is_that_type() -> None:
    """Columns of tensors and of documents are these also where the field is declared by a name of their type."""
    films = DocList[Film]([Film(writer={'name': name}, look=[1, 2]) for name in 'ab'])
    assert films.look.shape == (2, 2)
    assert films.writer.name == ['a', 'b']


def test_torch_tensors_and_arrays_pick_documents() -> None:
    """Positions and masks may be torch tensors as well; one position in an array gives a list of one."""
    torch = pytest.importorskip('torch')
    shelf = books('a', 'b', 'c')
    assert shelf[torch.tensor([2, 0])].title == ['c', 'a']
    assert shelf[torch.tensor([True, False, True])].title == ['a', 'c']
    assert shelf[torch.tensor(1)].title == 'b'
    assert shelf[torch.tensor([1])].title == ['b']
    assert shelf[np.array([1])].title == ['b']


@pytest.mark.parametrize(('key', 'error'), [([0.5], TypeError), (['a'], TypeError), ([[0, 1]], IndexError)], ids=repr)
def test_what_is_no_position_is_refused(key: Any, error: type[Exception]) -> None:
    """Fractions and words are no positions, and a table of them is none either."""
    with pytest.raises(error):
        books('a', 'b')[key]


def test_several_are_replaced_and_deleted_at_once() -> None:
    """Positions and masks can be assigned and deleted; other numbers of documents are refused, and nothing changes."""
    shelf = books('a', 'b', 'c')
    shelf[[0, -1]] = books('x', 'y')
    assert shelf.title == ['x', 'b', 'y']
    with pytest.raises(ValueError, match='1 documents for 2 positions'):
        shelf[[True, True, False]] = books('z')
    with pytest.raises(IndexError, match='position 3 in a list of 3'):
        shelf[[0, 3]] = books('z', 'z')
    assert shelf.title == ['x', 'b', 'y']
    del shelf[[0, -3, 2]]
    assert shelf.title == ['b']


@pytest.mark.parametrize(
    'made',
    [
        lambda shelf: shelf.copy(),
        lambda shelf: operator.add(shelf, []),
        lambda shelf: operator.add([], shelf),
        lambda shelf: shelf * 1,
        lambda shelf: 1 * shelf,
        lambda shelf: shelf[:],
        lambda shelf: shelf.sorted_by('title'),
    ],
    ids=['copy', '+', 'r+', '*', 'r*', '[:]', 'sorted_by'],
)
def test_what_is_made_of_a_list_has_its_class(made: Any) -> None:
    """A copy, a sum, a multiple and a part of a `DocList[Book]` are lists of the same class, and other lists."""
    shelf = books('a', 'b')
    other = made(shelf)
    assert type(other) is DocList[Book]
    assert other == shelf
    other.append(Book())
    assert len(shelf) == 2


def test_a_sum_is_checked() -> None:
    """What is added to a typed list must be of its class."""
    with pytest.raises(TypeError, match='holds Books, got Author'):
        operator.add(books('a'), [Author(name='x')])


def test_sorting() -> None:
    """Documents are sorted by a field, a nested one or a function; None comes last either way."""
    shelf = books('b', 'a', 'c')
    assert shelf.sorted_by('title').title == ['a', 'b', 'c']
    assert shelf.sorted_by('author__name', reverse=True).title == ['c', 'b', 'a']
    assert shelf.sorted_by(lambda book: -ord(book.title)).title == ['c', 'b', 'a']
    shelf[0].editor = Author(name='z')
    shelf[2].editor = Author(name='x')
    assert shelf.sorted_by('editor__name').title == ['c', 'b', 'a']
    assert shelf.sorted_by('editor__name', reverse=True).title == ['b', 'c', 'a']
    shelf.sort(key='title', reverse=True)
    assert shelf.title == ['c', 'b', 'a']
    with pytest.raises(AttributeError, match='colour'):
        shelf.sorted_by('colour')
    with pytest.raises(TypeError, match='give a key'):
        shelf.sort()


def test_an_optional_document_is_a_column_too() -> None:
    """Where an optional document is missing, None stands in the list of them, and in its columns."""
    shelf = books('a', 'b')
    shelf[1].editor = Author(name='E')
    assert type(shelf.editor) is DocList[Author]
    assert shelf.editor == [None, Author(name='E')]
    assert shelf.editor.name == [None, 'E']
    with pytest.raises(ValueError, match='the document at position 0 is None'):
        shelf.editor.name = ['x', 'y']


class Counted(BaseDoc):
    count: int
    summary: str


def test_fields_that_are_called_like_methods() -> None:
    """A list's own methods come first; `column` has the field, and a document may well have a summary."""
    docs = DocList[Counted]([Counted(count=3, summary='short')])
    assert docs.column('count') == [3]
    assert docs.column('summary') == ['short']
    assert docs[0].summary == 'short'
    assert Counted.model_fields['summary'].is_required()


def test_equality() -> None:
    """Lists are equal if their documents are, arrays in them compared as a whole, whatever class the list has."""

    class Plain(BaseModel):
        v: NdArray

    one, two, other = (DocList([Plain(v=np.array(v))]) for v in ([1, 2], [1, 2], [1, 3]))
    assert one == two
    assert one != other
    assert one != []
    assert one == list(two)
    assert books('a') == list(books('a'))
    assert books('a') != 'a'


def test_a_repr_is_short() -> None:
    """Long documents are cut in the repr of a list."""
    assert len(repr(books(*['x' * 10_000] * 100))) < 1000
