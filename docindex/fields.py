"""
The settings of a field: how they are written in a schema, and what they may be. Most are a vector field's.

A setting of a vector field comes from, in falling order: `Field(...)` of the field itself, `default_column_config` of
the index, what the directory remembers of an earlier session, the default below.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Never

import numpy as np
import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .embedding import Embedder, Embeds
from .errors import SettingsError

if TYPE_CHECKING:
    from .embedding import EmbeddingFunction

Space = Literal['l2', 'ip', 'cosine']
Tokenizer = Literal['unicode61', 'porter', 'trigram']
IndexBy = Literal['prefix', 'projection']
StoredAs = Literal['float32', 'float16']
ColumnConfig = dict[Any, dict[str, Any]]
"""Settings by what they are for, as in DocArray: `{np.ndarray: {'space': 'cosine'}}` for all vector fields."""


@dataclass(frozen=True)
class VectorSettings:
    """
    Everything that can be set for one vector field, with its default.

    Attributes:
        dim: Length of the vectors. -1: taken from the type, `NdArray[128]`.
        index: Whether a graph is built. Without one the vector is stored, and searched exactly.
        space: The distance: `l2` (squared), `ip` or `cosine`; see `docindex.results`.
        max_elements: Capacity of a new graph, in vectors. It doubles whenever it is reached.
        ef_construction: Candidates examined for each vector that is added. More: slower, better graph.
        M: Links of each vector in the graph. More: more memory, better recall in high dimensions.
        ef: Candidates examined by a search. None or -1: `ef_factor` x limit, within `ef_min` and `ef_max`
            (Weaviate's "dynamic ef"; hnswlib's own default of 10 finds 76 % of the true neighbours among
            60,000 sentence embeddings). A positive number is taken as it is.
        flat_search_cutoff: Up to how many documents that match a filter are compared with the query one by one,
            without the graph (Weaviate's name). None: as many as take no longer than the graph would.
        num_threads: Threads for adding and for batches of queries. -1: one for each processor. With 1, the same vectors
            make the same graph each time.
        allow_replace_deleted: Passed on to hnswlib. It changes nothing here: an update takes a new place
            in the graph, which was measured to be faster and to keep recall higher.
        random_seed: Seed of the graph's random levels, and of a projection.
        index_dim: How many values of each vector stand in the graph, in memory; see `index_by`. A search then compares
            the `ef` candidates of the graph exactly, with the vector file. None, or as many as `dim`: all values,
            and no second comparison.
        index_by: Which values these are: 'prefix', the first ones, which carry most where a model was trained for it
            (Matryoshka embeddings), or 'projection', a random projection (see `docindex.hnsw.reduction`).
        oversampling: With `index_dim`, an `ef` that nobody gives is at least so many times `limit`: that many
            candidates are compared exactly for each result (Qdrant's name; LanceDB's is `refine_factor`).
        stored_as: What the vector file holds: 'float32', or 'float16' in half the room. Documents come back
            with what it holds: about three decimal digits of each value.
    """

    dim: int = -1
    index: bool = True
    space: Space = 'l2'
    max_elements: int = 1024
    ef_construction: int = 200
    M: int = 16
    ef: int | None = None
    ef_min: int = 100
    ef_max: int = 500
    ef_factor: int = 8
    flat_search_cutoff: int | None = None
    num_threads: int = -1
    allow_replace_deleted: bool = True
    random_seed: int = 100
    index_dim: int | None = None
    index_by: IndexBy = 'prefix'
    oversampling: int = 20
    stored_as: StoredAs = 'float32'

    @property
    def graph_dim(self) -> int:
        """How many values of each vector stand in the graph."""
        return self.dim if self.index_dim is None else self.index_dim

    @property
    def is_reduced(self) -> bool:
        """Whether that is less than the whole vector."""
        return self.graph_dim != self.dim

    def built_in(self) -> dict[str, Any]:
        """Return what of these is built into a graph, equal where the graph would be."""
        found = {name: getattr(self, name) for name in GRAPH_SETTINGS}
        return {**found, 'index_dim': self.graph_dim, 'index_by': self.index_by if self.is_reduced else None}

    def search_ef(self, limit: int) -> int:
        """Return how many candidates a search for `limit` neighbours examines."""
        if self.ef is not None and self.ef > 0:
            return self.ef
        least = self.oversampling * limit if self.is_reduced else 0
        return max(self.ef_min, min(self.ef_factor * limit, self.ef_max), least)

    def changed(self, settings: Mapping[str, Any], where: str) -> VectorSettings:
        """Return a copy with `settings` applied, checked; `where` names their origin in errors."""
        check_settings(settings, where)
        changed = replace(self, **settings)
        if changed.ef_min > changed.ef_max:
            raise SettingsError(f'{where}: ef_min ({changed.ef_min}) is larger than ef_max ({changed.ef_max})')
        if changed.index_dim is not None and 0 < changed.dim < changed.index_dim:
            raise SettingsError(
                f'{where}: index_dim ({changed.index_dim}) is larger than dim ({changed.dim}); it says how many '
                'values of each vector stand in the graph'
            )
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        return asdict(self)


SETTING_NAMES = frozenset(field.name for field in fields(VectorSettings))
TEXT_SETTINGS = frozenset({'full_text', 'tokenizer'})
"""What can be said about a field of strings; `index` can be said about any field."""
BACKEND_SETTINGS = frozenset({'milvus'})
"""What only one backend looks at; the others pass over it."""
_ALL_NAMES = SETTING_NAMES | TEXT_SETTINGS | BACKEND_SETTINGS
SEARCH_SETTINGS = frozenset(
    {'ef', 'ef_min', 'ef_max', 'ef_factor', 'oversampling', 'flat_search_cutoff', 'num_threads'}
)
"""What hnswlib can change in a graph that holds vectors; a larger `max_elements` is possible too."""
GRAPH_SETTINGS = (
    'space',
    'M',
    'ef_construction',
    'random_seed',
    'allow_replace_deleted',
    'index_dim',
    'index_by',
)
"""What is built into a graph: another value needs another graph."""
FILE_SETTINGS = ('dim', 'stored_as')
"""What is built into a vector file: another value needs another index."""


def check_settings(settings: Mapping[str, Any], where: str, known: frozenset[str] = SETTING_NAMES) -> None:
    """Raise `SettingsError` for the first setting that is not `known` or out of range."""
    for name, value in settings.items():
        if name not in known:
            raise SettingsError(f'{where}: there is no setting {name!r}{_did_you_mean(name, known)}')
        expected, is_valid = _CHECKS[name]
        if not is_valid(value):
            raise SettingsError(f'{where}: {name} must be {expected}, got {value!r}')


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _within(low: int, high: int) -> tuple[str, Callable[[Any], bool]]:
    return f'an integer from {low} to {high:,}', lambda value: _is_int(value) and low <= value <= high


_BOOLEAN: tuple[str, Callable[[Any], bool]] = ('True or False', lambda value: isinstance(value, bool))
# hnswlib takes any of these without a word and then crashes (M=0), cannot add (M=1) or caps (M > 10,000).
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    'dim': ('a positive integer, or -1 for the one in the type', lambda v: _is_int(v) and (v == -1 or 0 < v < 1 << 20)),
    'index': _BOOLEAN,
    'space': ("'l2', 'ip' or 'cosine'", lambda value: value in ('l2', 'ip', 'cosine')),
    'max_elements': _within(1, (1 << 31) - 1),  # hnswlib counts visited places in an int
    'ef_construction': _within(1, 1_000_000),
    'M': _within(2, 10_000),
    'ef': (
        'a positive integer, or None for automatic',
        lambda v: v is None or (_is_int(v) and (v == -1 or 0 < v < 1 << 31)),
    ),
    'ef_min': _within(1, 1_000_000),
    'ef_max': _within(1, 1_000_000),
    'ef_factor': _within(1, 1_000_000),
    'flat_search_cutoff': (
        'an integer from 0, or None for automatic',
        lambda v: v is None or (_is_int(v) and 0 <= v < 1 << 62),
    ),
    'num_threads': (
        'a positive integer, or -1 for all processors',
        lambda v: _is_int(v) and (v == -1 or 0 < v < 1 << 16),
    ),
    'allow_replace_deleted': _BOOLEAN,
    'random_seed': _within(0, 1 << 62),
    'index_dim': (
        'a positive integer, or None for all values',
        lambda v: v is None or (_is_int(v) and 0 < v < 1 << 20),
    ),
    'index_by': ("'prefix' or 'projection'", lambda value: value in ('prefix', 'projection')),
    'oversampling': _within(1, 1_000_000),
    'stored_as': ("'float32' or 'float16'", lambda value: value in ('float32', 'float16')),
    'milvus': (
        "a dict such as {'index_type': 'IVF_SQ8', 'nlist': 1024, 'search': {'nprobe': 16}}",
        lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value),
    ),
    'full_text': _BOOLEAN,
    'tokenizer': ("'unicode61', 'porter' or 'trigram'", lambda value: value in ('unicode61', 'porter', 'trigram')),
}


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean {close[0]!r}?' if close else f'; the settings are {", ".join(sorted(known))}'


def Field(  # noqa: N802 (pydantic's name)
    default: Any = PydanticUndefined,
    *,
    dim: int | None = None,
    index: bool | None = None,
    space: Space | None = None,
    max_elements: int | None = None,
    ef_construction: int | None = None,
    M: int | None = None,  # noqa: N803 (hnswlib's name)
    ef: int | None = None,
    ef_min: int | None = None,
    ef_max: int | None = None,
    ef_factor: int | None = None,
    flat_search_cutoff: int | None = None,
    num_threads: int | None = None,
    allow_replace_deleted: bool | None = None,
    random_seed: int | None = None,
    index_dim: int | None = None,
    index_by: IndexBy | None = None,
    oversampling: int | None = None,
    stored_as: StoredAs | None = None,
    full_text: bool | None = None,
    tokenizer: Tokenizer | None = None,
    milvus: dict[str, Any] | None = None,
    embeds: str | Sequence[str] | None = None,
    with_: Embedder | EmbeddingFunction | None = None,
    default_factory: Callable[[], Any] | Callable[[dict[str, Any]], Any] | None = None,
    alias: str | None = None,
    validation_alias: str | pydantic.AliasPath | pydantic.AliasChoices | None = None,
    serialization_alias: str | None = None,
    title: str | None = None,
    description: str | None = None,
    examples: list[Any] | None = None,
    exclude: bool | None = None,
    discriminator: str | pydantic.Discriminator | None = None,
    deprecated: str | bool | None = None,
    json_schema_extra: dict[str, Any] | None = None,
    frozen: bool | None = None,
    validate_default: bool | None = None,
    repr: bool = True,  # noqa: A002 (pydantic's name)
    pattern: str | None = None,
    strict: bool | None = None,
    gt: Any = None,
    ge: Any = None,
    lt: Any = None,
    le: Any = None,
    multiple_of: float | None = None,
    allow_inf_nan: bool | None = None,
    max_digits: int | None = None,
    decimal_places: int | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    union_mode: Literal['smart', 'left_to_right'] | None = None,
    fail_fast: bool | None = None,
    **unknown: Never,
) -> Any:
    """
    Return pydantic's `Field`, with the settings of docindex beside pydantic's own arguments.

    For a vector field the settings are those of `VectorSettings`; one left out takes the index's default. For others:

    * `index=False`: filters on the field read all documents, instead of an SQLite index that takes room and some
      microseconds at each write. By default every field of single values has one, but for those with `full_text`.
    * `full_text=True`: the words of a string field can be searched with `text_search`.
    * `tokenizer`: how its text becomes words: 'unicode61' (the default) takes letters and digits, without case and
      accents; 'porter' also reduces English words to their stems; 'trigram' finds three letters or more within words.

    `milvus={...}` is for a vector field on Milvus alone: its `index_type` there, the parameters of that index, and
    under 'search' those of a search.
    A vector field can be filled from texts. Its vector may then be left out, or None, until the document is stored:

    * `embeds`: the flat name of a string field beside it, `'description'` or `'author__name'`; several names, whose
      texts are joined by line breaks; or a template, `'{name}: {description}'`.
    * `with_`: the function that makes the vectors, from a list of texts to an array (texts, dim); or an `Embedder`.

    Pydantic's arguments mean what they mean there.

    Raises:
        SettingsError: a setting is out of range, or nobody knows it; or `with_` is no function that has a name.
    """
    settings = {
        'dim': dim,
        'index': index,
        'space': space,
        'max_elements': max_elements,
        'ef_construction': ef_construction,
        'M': M,
        'ef': ef,
        'ef_min': ef_min,
        'ef_max': ef_max,
        'ef_factor': ef_factor,
        'flat_search_cutoff': flat_search_cutoff,
        'num_threads': num_threads,
        'allow_replace_deleted': allow_replace_deleted,
        'random_seed': random_seed,
        'index_dim': index_dim,
        'index_by': index_by,
        'oversampling': oversampling,
        'stored_as': stored_as,
        'full_text': full_text,
        'tokenizer': tokenizer,
        'milvus': milvus,
    }
    given = {name: value for name, value in settings.items() if value is not None} | unknown
    check_settings(given, 'Field()', _ALL_NAMES)
    of_pydantic = {
        'default_factory': default_factory,
        'alias': alias,
        'validation_alias': validation_alias,
        'serialization_alias': serialization_alias,
        'title': title,
        'description': description,
        'examples': examples,
        'exclude': exclude,
        'discriminator': discriminator,
        'deprecated': deprecated,
        'json_schema_extra': {**(json_schema_extra or {}), **given} or None,
        'frozen': frozen,
        'validate_default': validate_default,
        'pattern': pattern,
        'strict': strict,
        'gt': gt,
        'ge': ge,
        'lt': lt,
        'le': le,
        'multiple_of': multiple_of,
        'allow_inf_nan': allow_inf_nan,
        'max_digits': max_digits,
        'decimal_places': decimal_places,
        'min_length': min_length,
        'max_length': max_length,
        'union_mode': union_mode,
        'fail_fast': fail_fast,
    }
    declared = _embeds(embeds, with_)
    if declared is not None and default is PydanticUndefined and default_factory is None:
        default = None  # not made yet
    # pydantic tells "not given" from None, so that an Annotated[...] around it keeps its own arguments.
    passed: dict[str, Any] = {name: value for name, value in of_pydantic.items() if value is not None}
    field: Any = pydantic.Field(default, repr=repr, **passed)
    if declared is not None:
        field.metadata.append(declared)
    return field


def _embeds(embeds: str | Sequence[str] | None, with_: Embedder | EmbeddingFunction | None) -> Embeds | None:
    if embeds is None and with_ is None:
        return None
    if embeds is None or with_ is None:
        missing = "embeds='the field with the text'" if embeds is None else 'with_=the function that makes vectors'
        raise SettingsError(f'Field(): embeds and with_ go together; {missing} is not given')
    return Embeds(embeds, with_ if isinstance(with_, Embedder) else Embedder(with_))


def declared_settings(field: FieldInfo, where: str) -> dict[str, Any]:
    """
    Return the settings that a schema gives for a field, through `docindex.Field` or pydantic's own.

    Other keys of pydantic's `json_schema_extra` are the user's business, unless they look like a
    setting that was misspelt.
    """
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        return {}
    known = _ALL_NAMES
    for name in extra:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if name not in known and close:
            raise SettingsError(f'{where}: there is no setting {name!r}; did you mean {close[0]!r}?')
    settings = {name: value for name, value in extra.items() if name in known}
    check_settings(settings, where, known)
    return settings


def no_column_config() -> ColumnConfig:
    """Return a `default_column_config` that says nothing."""
    return {np.ndarray: {}, None: {}}


def vector_defaults(config: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that a `default_column_config` gives for vectors."""
    for key, settings in config.items():
        if key is not np.ndarray and settings:
            raise SettingsError(
                f'default_column_config has settings for {key!r}; only np.ndarray, the vector fields, has any'
            )
    settings = dict(config.get(np.ndarray, {}))
    check_settings(settings, 'default_column_config')
    if settings.get('dim') == -1:  # DocArray's way to say: as long as the type says
        del settings['dim']
    return settings
