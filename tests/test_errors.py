import copy
import inspect
import pickle
import re

import pytest

from docindex import errors
from docindex.errors import (
    BatchError,
    ClosedIndexError,
    CollectionError,
    CorruptIndexError,
    DimensionError,
    DocIndexError,
    DocumentError,
    DocumentNotFoundError,
    EmbeddingError,
    ExportError,
    FilterError,
    FormatVersionError,
    IdTypeError,
    LoadError,
    MissingLibraryError,
    QueryError,
    ReadOnlyError,
    SchemaError,
    SchemaMismatchError,
    ServerError,
    SettingsError,
    SourceError,
    TableError,
    UrlError,
    VectorError,
    WorkDirError,
    WorkDirLockedError,
)

BUILTINS = {
    SchemaError: TypeError,
    SettingsError: ValueError,
    DocumentError: ValueError,
    QueryError: ValueError,
    FilterError: ValueError,
    VectorError: ValueError,
    DimensionError: ValueError,
    EmbeddingError: RuntimeError,
    TableError: ValueError,
    LoadError: ValueError,
    SourceError: OSError,
    ExportError: OSError,
    IdTypeError: TypeError,
    DocumentNotFoundError: KeyError,
    WorkDirError: OSError,
    WorkDirLockedError: TimeoutError,
    ReadOnlyError: PermissionError,
    SchemaMismatchError: OSError,
    FormatVersionError: OSError,
    CorruptIndexError: OSError,
    ServerError: ConnectionError,
    BatchError: ConnectionError,
    CollectionError: ValueError,
    ClosedIndexError: RuntimeError,
    UrlError: OSError,
    MissingLibraryError: ImportError,
}
EXAMPLES = [
    SchemaError('no field'),
    DimensionError("field 'v' holds 3-d vectors, got 2-d", 'v', 3, (2,)),
    EmbeddingError("field 'v': the function 'minilm' failed", 'v', 'minilm'),
    DocumentNotFoundError(['a', 'b']),
    WorkDirError('cannot use this', '/here', 'go there'),
    WorkDirLockedError('process 7 has this', '/here', 'wait', 7),
    CorruptIndexError('this file is damaged', '/here/file'),
    TableError('row 3: price: no number', row=3, column='price'),
    LoadError('x.csv, row 7: price: no number', 'x.csv', 7, 8),
    SourceError('x.gz cannot be read', 'x.gz'),
    ExportError('the disk is full', 'x.csv'),
    ServerError('cannot connect', 'http://localhost:19530'),
    BatchError('the server has failed', 'http://localhost:19530', ['a', 'b']),
    CollectionError('another schema', 'Book'),
    MissingLibraryError('Arrow tables need pyarrow', name='pyarrow'),
]


def defined() -> list[type[DocIndexError]]:
    return [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, DocIndexError)]


def test_every_error_is_known_here() -> None:
    """Each error that the library defines is known here, so none escapes the tests below."""
    assert set(defined()) == {DocIndexError, *BUILTINS}


@pytest.mark.parametrize(('error', 'builtin'), BUILTINS.items(), ids=lambda cls: cls.__name__)
def test_every_error_is_a_builtin_too(error: type[DocIndexError], builtin: type[Exception]) -> None:
    """Each error can be caught as `DocIndexError` and as the builtin that a Python user would guess."""
    assert issubclass(error, DocIndexError)
    assert issubclass(error, builtin)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    """The tree at the top of the module names every error, its parent by indentation, and its builtin."""
    parents: list[str] = []
    for indent, name, builtin in re.findall(r'^    ( *)(\w+Error)(?: \((\w+)\))?', errors.__doc__ or '', re.MULTILINE):
        depth = len(indent) // 2
        bases = [base.__name__ for base in getattr(errors, name).__mro__]
        assert not depth or parents[depth - 1] in bases
        assert not builtin or builtin in bases
        parents[depth:] = [name]
    described = set(re.findall(r'^ *(\w+Error)\b', errors.__doc__ or '', re.MULTILINE))
    assert described == {cls.__name__ for cls in defined()}


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize('error', EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: DocIndexError, copied: object) -> None:
    """An error that crosses a process boundary keeps its class, its message and its attributes."""
    again = copied(error)  # type: ignore[operator]
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_dimension_error_says_what_differs() -> None:
    """`DimensionError` carries the field, the expected length and what came, and prints only its message."""
    error = DimensionError('too short', 'v', 3, (2,))
    assert (error.field, error.expected, error.got) == ('v', 3, (2,))
    assert str(error) == 'too short'


def test_missing_ids_are_listed() -> None:
    """`DocumentNotFoundError` prints the ids it carries, not a repr of a repr as KeyError would."""
    error = DocumentNotFoundError(['a', "it's"])
    assert error.ids == ['a', "it's"]
    assert str(error) == "no document with id 'a', \"it's\""


def test_many_or_long_missing_ids_are_cut_short() -> None:
    """A message stays readable whatever the ids are, while `ids` keeps all of them."""
    error = DocumentNotFoundError(['x' * 10_000, *map(str, range(1000))])
    assert len(str(error)) < 300
    assert '991 more' in str(error)
    assert len(error.ids) == 1001


def test_a_work_dir_error_says_where_and_what_to_do() -> None:
    """A directory error prints its message, the path, and the hint if there is one."""
    assert str(WorkDirError('it is full', '/here', 'make room')) == 'it is full (/here); make room'
    assert str(WorkDirError('it is full', '/here')) == 'it is full (/here)'


def test_a_lock_error_carries_the_holder() -> None:
    """`WorkDirLockedError` says which process holds the directory, as far as that is known."""
    assert WorkDirLockedError('held', '/here', 'wait', 42).pid == 42
    assert WorkDirLockedError('held', '/here').pid is None
