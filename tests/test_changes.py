"""What `update` is given: changes by id, or documents, and which of both a dictionary is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, model_validator

from docindex import BaseDoc, QueryError
from docindex.changes import changes_of


class Plain(BaseDoc):
    price: int = 0
    notes: dict[str, Any] = Field(default_factory=dict)


class Open(Plain):
    model_config = ConfigDict(extra='allow')


class Needed(BaseModel):
    id: str
    embedding: list[float]


class Renamed(BaseModel):
    id: str = Field(alias='key')
    notes: dict[str, Any] = Field(validation_alias=AliasChoices('remarks', AliasPath('inside', 0)))


class Only(BaseModel):
    """One of which there is a single document."""

    model_config = ConfigDict(extra='allow')

    id: str = 'settings'


class Wrapped(BaseDoc):
    price: int = 0

    @model_validator(mode='before')
    @classmethod
    def _unwrap(cls, given: Any) -> Any:
        return given.get('wrapped', given)


class Made(BaseModel):
    id: str

    def __init__(self, **given: Any) -> None:
        super().__init__(id=given['key'])


class Checked(Plain):
    @model_validator(mode='after')
    def _check(self) -> Checked:
        return self


@pytest.mark.parametrize(
    ('doc_type', 'given'),
    [
        (Plain, {'id': 'a', 'notes': {'x': 1}}),
        (Plain, {'price': 3, 'notes': {}}),
        (Plain, {'id': 'a', 'other': {'price': 3}}),
        (Open, {'id': 'a', 'other': {'price': 3}}),
        (Needed, {'id': 'a', 'other': {'embedding': [1]}}),
        (Renamed, {'key': 'a', 'other': {}}),
        (Renamed, {'remarks': {}, 'other': None}),
        (Renamed, {'inside': [{}], 'other': {}}),
        (Only, {'colours': {'dark': True}, 'size': 3}),
        (Wrapped, {'wrapped': {'id': 'a'}, 'version': 1}),
        (Made, {'extra': {}, 'other': 1}),
    ],
)
def test_a_dictionary_may_be_a_document(doc_type: type[BaseModel], given: dict[str, Any]) -> None:
    """One with a field by its name or alias, or of a class that may read others, is a document whatever else it has."""
    assert changes_of(given, {}, doc_type) is None


@pytest.mark.parametrize('doc_type', [Plain, Open, Needed, Renamed, Checked])
@pytest.mark.parametrize(
    'wrong', [None, 3, 'price', [('price', 3)], Plain(id='d2')], ids=lambda wrong: type(wrong).__name__
)
@pytest.mark.parametrize('others', [{}, {'d1': {'price': 3}}], ids=['alone', 'beside another'])
def test_changes_that_are_no_dictionary(doc_type: type[BaseModel], wrong: object, others: dict[str, Any]) -> None:
    """What can be no document is changes by id: an error names the id, what was expected and what came."""
    message = f"'d2': expected a dict of the fields that change, .* got {type(wrong).__name__}; .* {doc_type.__name__}$"
    with pytest.raises(QueryError, match=message):
        changes_of({**others, 'd2': wrong}, {}, doc_type)
