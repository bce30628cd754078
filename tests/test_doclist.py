import copy
import pickle
from typing import Any

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
