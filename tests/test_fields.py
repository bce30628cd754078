from typing import Annotated, Any

import numpy as np
import pydantic
import pytest
from pydantic import BaseModel

from docindex import BaseDoc, Field, NdArray, SettingsError, VectorSettings
from docindex.fields import SETTING_NAMES, check_settings, declared_settings
from docindex.schema import Schema

ALL_SETTINGS: dict[str, Any] = {
    'dim': 3,
    'index': False,
    'space': 'cosine',
    'max_elements': 8,
    'ef_construction': 77,
    'M': 5,
    'ef': 33,
    'ef_min': 11,
    'ef_max': 22,
    'ef_factor': 2,
    'flat_search_cutoff': 7,
    'num_threads': 2,
    'allow_replace_deleted': False,
    'random_seed': 9,
    'index_dim': 2,
    'index_by': 'projection',
    'oversampling': 4,
    'stored_as': 'float16',
}
OUT_OF_RANGE: list[tuple[str, Any]] = [
    ('dim', 0),
    ('dim', -2),
    ('dim', 3.0),
    ('dim', True),
    ('dim', '3'),
    ('index', 1),
    ('index', 'no'),
    ('space', 'manhattan'),
    ('space', 'L2'),
    ('max_elements', 0),
    ('max_elements', 1.5),
    ('ef_construction', 0),
    ('M', 1),
    ('M', 0),
    ('M', -16),
    ('M', 10_001),
    ('ef', 0),
    ('ef', -2),
    ('ef', 1.5),
    ('ef', 1 << 70),
    ('ef_min', 0),
    ('ef_max', 0),
    ('ef_factor', 0),
    ('flat_search_cutoff', -1),
    ('flat_search_cutoff', 'all'),
    ('num_threads', 0),
    ('num_threads', -2),
    ('allow_replace_deleted', 'yes'),
    ('random_seed', -1),
    ('index_dim', 0),
    ('index_dim', 1.5),
    ('index_dim', True),
    ('index_by', 'pca'),
    ('oversampling', 0),
    ('oversampling', 1.5),
    ('stored_as', 'float64'),
    ('stored_as', 'half'),
]


def settings_of(doc_type: type[BaseModel]) -> dict[str, Any]:
    return Schema(doc_type).vector_settings({})['v']


def test_all_settings_are_tried_here() -> None:
    """The examples below leave out no setting."""
    assert set(ALL_SETTINGS) == SETTING_NAMES
    assert {name for name, _ in OUT_OF_RANGE} == SETTING_NAMES
    assert {name: getattr(VectorSettings(), name) for name in ALL_SETTINGS}.items() & ALL_SETTINGS.items() == set()


@pytest.mark.parametrize(
    ('name', 'default'),
    [
        ('dim', -1),
        ('index', True),
        ('space', 'l2'),
        ('max_elements', 1024),
        ('ef_construction', 200),
        ('M', 16),
    ],
)
def test_defaults_are_those_of_docarray(name: str, default: object) -> None:
    """A setting that nobody gives is what a user of DocArray expects."""
    assert getattr(VectorSettings(), name) == default


@pytest.mark.parametrize('name', ALL_SETTINGS)
def test_field_takes_every_setting(name: str) -> None:
    """`docindex.Field` takes each setting, and the schema reads it there."""
    given = {'dim': 4, name: ALL_SETTINGS[name]}

    class Doc(BaseDoc):
        v: NdArray = Field(**given)

    assert settings_of(Doc) == given


@pytest.mark.parametrize('name', ALL_SETTINGS)
def test_pydantic_extras_are_settings_too(name: str) -> None:
    """Settings in pydantic's own `Field`, as DocArray's documentation writes them, count as well."""
    given = {'dim': 4, name: ALL_SETTINGS[name]}

    class Doc(BaseDoc):
        v: NdArray = pydantic.Field(**given)

    assert settings_of(Doc) == given


def test_settings_in_annotated() -> None:
    """Settings in `Annotated` are read, with the field's own over them."""

    class Doc(BaseDoc):
        v: Annotated[NdArray, Field(dim=3, space='ip', M=7)] = Field(np.zeros(3), M=8)

    assert settings_of(Doc) == {'dim': 3, 'space': 'ip', 'M': 8}


@pytest.mark.parametrize(
    'annotation',
    [
        Annotated[NdArray, Field(dim=3, space='ip')] | None,
        Annotated[NdArray | None, Field(dim=3, space='ip')],
        Annotated[NdArray[3], Field(space='ip')],
        Annotated[Annotated[NdArray, Field(dim=3)], Field(space='ip')],
        Annotated[NdArray, pydantic.Field(json_schema_extra={'dim': 3, 'space': 'ip'})],
    ],
    ids=str,
)
def test_settings_inside_optional_annotated(annotation: Any) -> None:
    """It does not matter whether `Annotated` stands around `Optional` or in it, nor how often."""
    assert settings_of(pydantic.create_model('Doc', __base__=BaseDoc, v=(annotation, None))) == {
        'dim': 3,
        'space': 'ip',
    }


@pytest.mark.parametrize(('name', 'value'), OUT_OF_RANGE, ids=str)
def test_a_setting_out_of_range_is_refused(name: str, value: object) -> None:
    """A setting out of range is a `SettingsError`, a ValueError, that names it, what came, and what was expected."""
    with pytest.raises(SettingsError) as raised:
        Field(**{name: value})
    assert isinstance(raised.value, ValueError)
    assert name in str(raised.value)
    assert repr(value) in str(raised.value)
    assert 'must be' in str(raised.value)


@pytest.mark.parametrize(('name', 'value'), [('M', 1), ('space', 'manhattan')])
def test_a_setting_out_of_range_in_pydantic_field_is_refused(name: str, value: object) -> None:
    """Settings that pydantic's `Field` let pass are checked when the schema is read, with the field's name."""

    class Doc(BaseDoc):
        v: NdArray = pydantic.Field(dim=3, **{name: value})  # type: ignore[call-overload]

    with pytest.raises(SettingsError, match=rf'Doc\.v.*{name} must be'):
        Schema(Doc)


@pytest.mark.parametrize('edge', [('M', 2), ('M', 10_000), ('ef', 1), ('ef', -1), ('ef', None), ('num_threads', -1)])
def test_the_ends_of_a_range_are_inside(edge: tuple[str, object]) -> None:
    """The smallest and largest values that are allowed pass."""
    check_settings(dict([edge]), 'here')


def test_an_unknown_setting_is_refused_with_a_guess() -> None:
    """A setting nobody knows is a `SettingsError` that says where, and what may have been meant."""
    with pytest.raises(SettingsError, match=r"there is no setting 'ef_constructoin'; did you mean 'ef_construction'\?"):
        Field(dim=3, ef_constructoin=3)  # type: ignore[call-arg, arg-type]
    with pytest.raises(SettingsError, match='the settings are M, '):
        VectorSettings().changed({'colour': 1}, 'v')


def test_a_misspelt_extra_is_refused() -> None:
    """A setting misspelt in pydantic's `Field` is not silently a remark."""

    class Doc(BaseDoc):
        v: NdArray[3] = pydantic.Field(max_element=10)  # type: ignore[call-overload]

    with pytest.raises(SettingsError, match=r"Doc\.v.*'max_element'; did you mean 'max_elements'\?"):
        Schema(Doc)


def test_other_extras_are_left_alone() -> None:
    """What else a user writes into `json_schema_extra` is their business, and stays there."""
    info = Field(dim=3, json_schema_extra={'unit': 'metre'})
    assert declared_settings(info, 'v') == {'dim': 3}
    assert info.json_schema_extra == {'unit': 'metre', 'dim': 3}


@pytest.mark.parametrize(
    ('argument', 'value', 'good', 'bad'),
    [
        ('gt', 0, 1, 0),
        ('ge', 0, 0, -1),
        ('lt', 9, 8, 9),
        ('le', 9, 9, 10),
        ('multiple_of', 3, 6, 7),
        ('strict', True, 1, '1'),
    ],
)
def test_field_keeps_pydantic_checks(argument: str, value: Any, good: Any, bad: Any) -> None:
    """`docindex.Field` passes on pydantic's own arguments, which mean what they mean there."""
    model = pydantic.create_model('Model', number=(int, Field(**{argument: value})))
    assert model(number=good).number == good  # type: ignore[attr-defined]
    with pytest.raises(pydantic.ValidationError):
        model(number=bad)


def test_field_keeps_pydantic_names_and_defaults() -> None:
    """Alias, default, default factory, description and frozen arrive in pydantic."""

    class Model(BaseModel):
        a: int = Field(3, alias='A', description='first')
        b: list[int] = Field(default_factory=list, frozen=True)
        c: str = Field('x', exclude=True, repr=False)

    model = Model.model_validate({'A': 5})
    assert (model.a, model.b) == (5, [])
    assert model.model_dump() == {'a': 5, 'b': []}
    assert Model.model_fields['a'].description == 'first'
    with pytest.raises(pydantic.ValidationError, match='frozen'):
        model.b = [1]


@pytest.mark.parametrize(
    ('settings', 'limit', 'expected'),
    [({}, 1, 100), ({}, 20, 160), ({}, 1000, 500), ({'ef': 7}, 1000, 7), ({'ef': -1}, 20, 160), ({'ef': None}, 1, 100)],
)
def test_automatic_ef(settings: dict[str, Any], limit: int, expected: int) -> None:
    """Automatic ef is 8 x limit within 100 and 500; a positive number is taken as it is."""
    assert VectorSettings(**settings).search_ef(limit) == expected


def test_automatic_ef_can_be_set() -> None:
    """All three numbers of the automatic rule are settings."""
    settings = VectorSettings(ef_min=10, ef_max=40, ef_factor=3)
    assert [settings.search_ef(limit) for limit in (1, 5, 100)] == [10, 15, 40]


def test_ef_min_above_ef_max_is_refused() -> None:
    """Settings that contradict each other are refused, also when only one of them changes."""
    with pytest.raises(SettingsError, match=r'v: ef_min \(600\) is larger than ef_max \(500\)'):
        VectorSettings().changed({'ef_min': 600}, 'v')


def test_changed_leaves_the_original() -> None:
    """`changed` returns a copy; settings are values."""
    before = VectorSettings()
    after = before.changed({'M': 32}, 'v')
    assert (before.M, after.M) == (16, 32)
    assert VectorSettings(**after.to_dict()) == after
