"""
Vectors of texts: `Embedder`, a function that makes them, with its name; `Embeds`, what a field says of it.

The function is the user's, any `Callable[[list[str]], ArrayLike]`: docindex brings no model and downloads none.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ._progress import progress_bar
from .errors import EmbeddingError, SchemaMismatchError, SettingsError, VectorError
from .tensors import Float32Array, as_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pydantic.fields import FieldInfo

    EmbeddingFunction = Callable[[list[str]], ArrayLike]

_SHOWN = 60
Recorded = dict[str, Any]
"""What a directory remembers of a vector field: `function`, its name; `of`, what it embeds; `fields`; `dim`."""


class Embedder:
    """
    A function from texts to vectors, with the name by which directories know it.

    `Field(with_=function)` makes one of a plain function. Make it yourself to give a name, another batch size, or a
    function of its own for what is searched for:

        minilm = Embedder(model.encode, name='all-MiniLM-L6-v2', batch_size=32)

    Args:
        function: Takes texts, and returns their vectors in that order: shape (texts, dim), in any form that `np.array`
            knows, or an iterator of vectors. It is called by whichever thread indexes or finds, so by several at once.
        name: What a directory remembers, to refuse vectors of another model. None: the attribute `name` of the
            function or, if it is a method, of its object; else what Python calls it.
        queries: The same for what is searched for, where a model tells questions from documents. None: `function`.
        batch_size: At most so many texts in one call.

    Raises:
        SettingsError: something is no function, or an async one; there is no name for it; or no positive batch size.
    """

    def __init__(
        self,
        function: EmbeddingFunction,
        *,
        name: str | None = None,
        queries: EmbeddingFunction | None = None,
        batch_size: int = 128,
    ) -> None:
        for one in (function, queries):
            if one is not None:
                _check_function(one)
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise SettingsError(f'Embedder(): batch_size must be a positive number of texts, got {batch_size!r}')
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise SettingsError(f'Embedder(): name must be a string that is not empty, got {name!r}')
        self.name = name or _name_of(function)
        self.batch_size = batch_size
        self._function = function
        self._queries = queries or function

    def documents(
        self, texts: Sequence[str], field: str, dim: int | None = None, show_progress: bool | None = False
    ) -> Float32Array:
        """
        Return the vectors of texts that are stored, shape (texts, dim), float32 and finite.

        Args:
            texts: The texts; at least one.
            field: The vector field, for an error.
            dim: How long the vectors must be; None: all alike.
            show_progress: Whether to show a bar.

        Raises:
            EmbeddingError: the function raised an exception, or returned something else.
        """
        return self._vectors(self._function, texts, field, dim, show_progress)

    def queries(self, texts: Sequence[str], field: str, dim: int | None = None) -> Float32Array:
        """Return the vectors of texts that are searched for; see `documents`."""
        return self._vectors(self._queries, texts, field, dim, False)

    def _vectors(
        self,
        function: EmbeddingFunction,
        texts: Sequence[str],
        field: str,
        dim: int | None,
        show_progress: bool | None,
    ) -> Float32Array:
        blocks: list[Float32Array] = []
        with progress_bar(len(texts), f'vectors of {field}', show_progress, 'text') as advance:
            for start in range(0, len(texts), self.batch_size):
                part = list(texts[start : start + self.batch_size])
                blocks.append(self._matrix(function, part, field, dim))
                dim = blocks[0].shape[1]
                advance(len(part))
        return np.concatenate(blocks)

    def _matrix(self, function: EmbeddingFunction, texts: list[str], field: str, dim: int | None) -> Float32Array:
        """Return what the function makes of one batch, checked."""
        count = len(texts)
        try:
            found: Any = function(list(texts))  # a copy: it may put something else into its list
            found = list(found) if isinstance(found, Iterator) else found
        except Exception as error:
            raise self._error(field, f'failed for {_texts(count)}: {type(error).__name__}: {error}') from error
        if isinstance(found, Awaitable):
            if inspect.iscoroutine(found):
                found.close()
            raise self._error(field, 'is async, and has to return vectors; let it wait for them')
        try:
            array = as_array(found)
        except VectorError as error:
            raise self._error(field, f'must return a vector for each of {_texts(count)}: {error}') from error
        wanted = f'({count}, {dim or "dim"})'
        if array.ndim != 2 or len(array) != count or not array.shape[1] or (dim and array.shape[1] != dim):
            raise self._error(field, f'must return vectors of shape {wanted}, returned {array.shape}')
        with np.errstate(over='ignore'):
            matrix = np.array(array, np.float32)  # a copy: the next call may return the same array
        is_bad = ~np.isfinite(matrix).all(axis=1)
        if is_bad.any():
            text = shortened(texts[int(is_bad.argmax())])
            raise self._error(field, f'returned NaN or infinity for the text {text!r}; vectors must be finite')
        return matrix

    def _error(self, field: str, problem: str) -> EmbeddingError:
        return EmbeddingError(f'field {field!r}: the function {self.name!r} {problem}', field, self.name)

    def __repr__(self) -> str:
        return f'Embedder(name={self.name!r}, batch_size={self.batch_size})'


class Embeds:
    """
    What a vector field says of the text that it embeds: `Field(embeds='description', with_=function)`.

    It stands in the metadata of pydantic's field, and lets the value be None, which means: not made yet.

    Args:
        of: The flat name of a field, several names, or a template with names in braces, `'{name}: {description}'`.
        embedder: What makes vectors of it.

    Raises:
        SettingsError: it names nothing, or the template is not of that kind.
    """

    def __init__(self, of: str | Sequence[str], embedder: Embedder) -> None:
        several = (of,) if isinstance(of, str) else tuple(of)
        self.of = several[0] if len(several) == 1 else several
        self.embedder = embedder
        if not self.names:
            raise SettingsError(f'Field(): embeds must name a field with text, or several, got {of!r}')

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, as they were written."""
        if not isinstance(self.of, str):
            names = self.of
        elif '{' in self.of or '}' in self.of:
            names = tuple(_names_in(self.of))
        else:
            names = (self.of,)
        if not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise SettingsError(
                f"Field(): embeds={self.of!r} must be a field's name, several, or a template with names in braces, "
                "'{title}: {text}'"
            )
        return tuple(dict.fromkeys(names))

    def text(self, values: Sequence[object]) -> str | None:
        """Return the text to embed, of the values of the fields in the order of `names`; None: all are blank."""
        texts = ['' if value is None else str(value) for value in values]
        if not any(map(str.strip, texts)):
            return None
        if not isinstance(self.of, str):
            return '\n'.join(text for text in texts if text.strip())
        return texts[0] if self.of == self.names[0] else self.of.format(**dict(zip(self.names, texts, strict=True)))

    def to_json(self) -> str | list[str]:
        """Return what is embedded, as JSON types."""
        return self.of if isinstance(self.of, str) else list(self.of)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.nullable_schema(handler(source))

    def __repr__(self) -> str:
        return f'Embeds({self.to_json()!r}, with_={self.embedder.name!r})'


def declared_embeds(field: FieldInfo) -> Embeds | None:
    """Return what a schema says of the text that a field embeds."""
    return next((item for item in field.metadata if isinstance(item, Embeds)), None)


def check_recorded(
    recorded: Mapping[str, Recorded], declared: Mapping[str, Recorded], path: Any, is_empty: bool = False
) -> None:
    """
    Check that vectors that are there were made as a schema would make new ones.

    A field that was filled by hand so far, or is from now on, is fine: then there is nothing to compare.

    Args:
        recorded: What a directory remembers, by flat name of the vector field.
        declared: What the schema says.
        path: The directory, for an error.
        is_empty: Whether nothing was ever stored in it.

    Raises:
        SchemaMismatchError: another function, or of another text; the message says what to do.
    """
    for field, now in declared.items():
        before = recorded.get(field, now)
        hint = 'index the documents anew into another work_dir'
        if before['function'] != now['function']:
            problem = (
                f'the vectors in {field!r} were made by the function {before["function"]!r}, and the schema has '
                f'{now["function"]!r}: vectors of two models cannot be compared'
            )
            hint = (
                f'open it with {before["function"]!r}; if it is the same under another name, write '
                f'with_=Embedder(function, name={before["function"]!r}); otherwise {hint}'
            )
        elif before['of'] != now['of']:
            problem = (
                f'the vectors in {field!r} were made of {shown_of(before)}, and the schema has {shown_of(now)}: '
                'old and new ones would stand for different texts'
            )
            hint = f'open it with embeds={before["of"]!r}, or {hint}'
        else:
            continue
        raise SchemaMismatchError(problem, path, 'nothing is stored in it yet: remove it' if is_empty else hint)


def is_record(found: object) -> bool:
    """Return whether something that a directory says is what `check_recorded` reads."""
    return isinstance(found, dict) and all(
        isinstance(one, dict) and isinstance(one.get('function'), str) and isinstance(one.get('fields'), list)
        and isinstance(one.get('of'), (str, list))
        for one in found.values()
    )  # fmt: skip


def shown_of(record: Recorded) -> str:
    """Return what a record says is embedded, in words."""
    return repr(record['of']) if isinstance(record['of'], str) else ' and '.join(map(repr, record['of']))


def shortened(text: str) -> str:
    """Return a text, or its beginning, for an error."""
    return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 3]}...'


def _check_function(function: object) -> None:
    is_model = hasattr(function, 'encode') and hasattr(function, 'forward')  # of torch: a call takes no texts
    if not callable(function) or is_model:
        hint = '; give its method, model.encode' if hasattr(function, 'encode') else ''
        raise SettingsError(
            f'with_ must be a function from a list of texts to their vectors, got {type(function).__name__} '
            f'{shortened(repr(function))}{hint}'
        )
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, '__call__', None)):  # noqa: B004
        raise SettingsError(
            f'{shortened(repr(function))} is async; with_ takes a function that returns vectors, for find() and '
            'index() wait for them: in async code afind() and aindex() call it in a thread'
        )


def _name_of(function: Any) -> str:
    """Return what a function is called."""
    for owner in (function, getattr(function, '__self__', None)):
        name = getattr(owner, 'name', None)
        if isinstance(name, str) and name.strip():
            return name
    name = getattr(function, '__qualname__', None)
    if name is None and not hasattr(function, 'func'):  # functools.partial: what it was given is not in any name
        name = type(function).__qualname__
    name = (name or '').rpartition('<locals>.')[2]
    if not name or '<lambda>' in name:
        raise SettingsError(
            f'{shortened(repr(function))} has no name by which a directory could know it again; write '
            "with_=Embedder(function, name='the name of the model')"
        )
    return name


def _names_in(template: str) -> Iterator[str]:
    try:
        for _, name, form, conversion in string.Formatter().parse(template):
            if name is not None:
                yield f'{name}:{form}{conversion}' if form or conversion else name  # with a format it is none
    except ValueError as error:
        raise SettingsError(f'Field(): embeds={template!r} is no template: {error}') from error


def _texts(count: int) -> str:
    return 'one text' if count == 1 else f'{count:,} texts'
