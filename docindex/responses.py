"""
Results of searches as JSON, with their JSON Schema: what pydantic, and so FastAPI, asks of `FindResult` and its kin.

A result is an object with its fields, `{"documents": [...], "scores": [...]}`. `FindResult[Book]` says of which class
the documents are; without a class they are written as what they are, and read as the dicts that JSON has.

A score that is NaN, for nothing has put its document in order, is null, and null is read as NaN: JSON has no NaN.
Rejected: leaving such scores out, after which nobody could tell which document has which.
"""

from __future__ import annotations

from functools import cache
from types import GenericAlias
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from .doclist import DocList
from .results import FindResultBatched, SubindexFindResult
from .tensors import Float32Array

_SCORES = {'type': 'array', 'items': {'type': ['number', 'null']}}


def result_schema(result: type[Any], classes: tuple[Any, ...], handler: GetCoreSchemaHandler) -> CoreSchema:
    """
    Return how pydantic reads and writes a result.

    Args:
        result: `FindResult`, `FindResultBatched` or `SubindexFindResult`.
        classes: Of which its documents are; of those that are not said they may be of any.
        handler: Pydantic's.
    """
    model = _model_of(result, classes)  # type: ignore[arg-type]  # classes are hashable
    inner = handler.generate_schema(model)

    def read(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        found = validate(value._asdict() if isinstance(value, result) else value)
        if len(found.scores) != len(found.documents):
            raise ValueError(f'{len(found.documents)} in documents, and {len(found.scores)} in scores')
        return result(**{field: getattr(found, field) for field in result._fields})

    def write(value: Any, serialize: SerializerFunctionWrapHandler) -> Any:
        return serialize(model.model_construct(**value._asdict()))

    written = core_schema.wrap_serializer_function_ser_schema(write, schema=inner)
    return core_schema.no_info_wrap_validator_function(read, inner, serialization=written)


@cache
def _model_of(result: type[Any], classes: tuple[Any, ...]) -> type[BaseModel]:
    """Return a class with the fields of a result; a model, for these have a name in a JSON Schema."""
    lists = [DocList if cls is Any else _list_of(cls) for cls in (*classes, Any, Any)]
    fields = {'documents': lists[0], 'scores': _Scores}
    if result is FindResultBatched:
        fields = {'documents': GenericAlias(list, (lists[0],)), 'scores': _ScoresOfEach}
    elif result is SubindexFindResult:
        fields = {'root_documents': lists[0], 'documents': lists[1], 'scores': _Scores}
    names = ', '.join(getattr(cls, '__name__', str(cls)) for cls in classes)
    model: type[BaseModel] = create_model(  # type: ignore[call-overload]
        f'{result.__name__}[{names}]' if classes else result.__name__,
        **{field: (of, ...) for field, of in fields.items()},
    )
    return model


def _list_of(cls: Any) -> Any:
    return DocList[cls]


def _scores(value: Any) -> Float32Array:
    """Return scores, shape (documents,), from an array or from what JSON has."""
    scores = np.asarray(value, np.float32)  # which makes NaN of None
    if scores.ndim != 1:
        raise ValueError(f'expected one score for each document, got {scores.ndim} axes')
    return scores


def _scores_of_each(value: Any) -> Any:
    """Return the scores of several queries as `FindResultBatched` has them: an array if all have as many."""
    scores = [_scores(each) for each in value]
    is_even = len({len(each) for each in scores}) == 1
    return np.stack(scores) if is_even else scores


def _scores_to_json(scores: Float32Array) -> list[float | None]:
    return [score if np.isfinite(score) else None for score in scores.tolist()]


def _scores_of_each_to_json(scores: Any) -> list[list[float | None]]:
    return [_scores_to_json(each) for each in scores]


_Scores = Annotated[
    Any,
    PlainValidator(_scores),
    PlainSerializer(_scores_to_json, when_used='json'),
    WithJsonSchema(_SCORES),
]
_ScoresOfEach = Annotated[
    Any,
    PlainValidator(_scores_of_each),
    PlainSerializer(_scores_of_each_to_json, when_used='json'),
    WithJsonSchema({'type': 'array', 'items': _SCORES}),
]
