"""
What a search gives back.

A score of a vector search is always a **distance**, for every space: smaller is nearer, 0 is the query itself.

    l2       the squared Euclidean distance, sum((a - b) ** 2)
    ip       1 - dot(a, b); negative for long vectors that point the same way
    cosine   1 - cos(a, b), from 0 (same direction) to 2 (opposite); 1 if either is all zero

(hnswlib's README, "Supported distances", which DocArray's local index also returns.)

A score of a text search is BM25, and one of several rankings that were joined is theirs (`docindex.fusion`): larger is
better. NaN is the score of what no ranking has put in order. Documents come best first in any case.

To pydantic, and so to FastAPI, `FindResult[Book]` is a type like others: in JSON an object, `{"documents": [...],
"scores": [...]}`, with a JSON Schema (`docindex.responses`). NaN is null there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar

import numpy as np

from ._later import later
from .doclist import DocList

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import TypeVar as TypeVarWithDefault

    Inner = TypeVarWithDefault('Inner', default=Any)
else:
    Inner = TypeVar('Inner')

D = TypeVar('D')


class _Of:
    """
    Tells pydantic of which classes the documents of a result are: `FindResult[Book]` is annotated with it.

    Without it, pydantic would make of a generic named tuple a list of its fields, and not ask its class.
    """

    def __init__(self, result: type[Any], classes: Any) -> None:
        self._result = result
        self._classes = classes if isinstance(classes, tuple) else (classes,)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = later('responses').result_schema(self._result, self._classes, handler)
        return schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Of) and (self._result, self._classes) == (other._result, other._classes)

    def __hash__(self) -> int:
        return hash((self._result, self._classes))

    def __repr__(self) -> str:
        return f'{self._result.__name__}[{", ".join(getattr(cls, "__name__", str(cls)) for cls in self._classes)}]'


class FindResult(NamedTuple, Generic[D]):
    """
    The documents that answer one query, best first.

    Attributes:
        documents: At most `limit` documents of the index's schema.
        scores: Their distances, or other scores, shape (len(documents),), float32.
    """

    documents: DocList[D]
    scores: np.ndarray[Any, np.dtype[np.float32]]

    @classmethod
    def __class_getitem__(cls, classes: Any) -> Any:
        return Annotated[cls, _Of(cls, classes)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _Of(cls, ()).__get_pydantic_core_schema__(source, handler)

    def _repr_html_(self) -> str:
        html: str = later('display').result_as_table(self)._repr_html_()
        return html

    def __rich__(self) -> Any:
        return later('display').result_as_table(self)


class FindResultBatched(NamedTuple, Generic[D]):
    """
    The answers to several queries, in the order of the queries.

    Attributes:
        documents: One `DocList` a query.
        scores: Their scores, float32: of vector searches an array of shape (number of queries, documents a query), of
            text searches, which find more for one than for another, a list of one array a query.
    """

    documents: list[DocList[D]]
    scores: Any

    @classmethod
    def __class_getitem__(cls, classes: Any) -> Any:
        return Annotated[cls, _Of(cls, classes)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _Of(cls, ()).__get_pydantic_core_schema__(source, handler)

    def _repr_html_(self) -> str:
        return ''.join(table._repr_html_() for table in later('display').results_as_tables(self))

    def __rich__(self) -> Any:
        from rich.console import Group  # rich is there: it asks

        return Group(*later('display').results_as_tables(self))


class SubindexFindResult(NamedTuple, Generic[D, Inner]):
    """
    The documents in a list that answer one query, best first.

    As a type it can name the class of these as well: `SubindexFindResult[Book, Chapter]`.

    Attributes:
        root_documents: For each of them, the indexed document that it belongs to; one may stand here several times.
        documents: They themselves.
        scores: Their distances, shape (len(documents),), float32.
    """

    root_documents: DocList[D]
    documents: DocList[Inner]
    scores: np.ndarray[Any, np.dtype[np.float32]]

    @classmethod
    def __class_getitem__(cls, classes: Any) -> Any:
        return Annotated[cls, _Of(cls, classes)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _Of(cls, ()).__get_pydantic_core_schema__(source, handler)

    @property
    def sub_documents(self) -> DocList[Inner]:
        """The same as `documents`, by DocArray's name."""
        return self.documents

    def _repr_html_(self) -> str:
        html: str = later('display').result_as_table(self)._repr_html_()
        return html

    def __rich__(self) -> Any:
        return later('display').result_as_table(self)


class Step(NamedTuple):
    """
    What was done for a query, in order.

    Attributes:
        what: In words.
        seconds: How long it took.
    """

    what: str
    seconds: float


class Timed:
    """Notes how long a step takes. A class: a generator would cost each a microsecond more."""

    __slots__ = ('_start', '_steps', '_what')

    def __init__(self, steps: list[Step], what: str) -> None:
        self._steps = steps
        self._what = what

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._steps.append(Step(self._what, time.perf_counter() - self._start))


@dataclass(frozen=True)
class Explanation:
    """
    How a query was answered; `print` shows it.

    Attributes:
        query: The query.
        filter: What all of its filters say together.
        estimate: How many documents were thought to match when the way to search was chosen, counted no further than
            that took; None: nothing depended on it.
        matches: How many do.
        steps: What was done, in order, and how long it took. Some steps are not needed for the same filter again.
        documents: How many documents were found.
    """

    query: Any
    filter: Any
    estimate: int | None
    matches: int
    steps: list[Step]
    documents: int

    def _repr_html_(self) -> str:
        html: str = later('display').explanation_as_html(self)
        return html

    def __str__(self) -> str:
        thought = '' if self.estimate is None else f' (estimated: at least {self.estimate:,})'
        lines = [f'filter: {self.filter}', f'matches: {self.matches:,}{thought}']
        lines += [f'{1000 * step.seconds:10.3f} ms  {step.what}' for step in self.steps]
        total = 1000 * sum(step.seconds for step in self.steps)
        return '\n'.join([str(self.query), *lines, f'{total:10.3f} ms  in all, for {self.documents:,} documents'])
