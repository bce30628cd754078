"""
The blueprint of a document class that a directory does not have: what older directories say of the class.

They have the types of the columns as one would write them, `list[str] | None`, and a JSON schema. That is enough to
read, filter and search. What it leaves open becomes a value of any type, as it stands in the JSON of a document.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from .blueprint import NAMED, ORIGINS, TENSORS, Type
from .errors import SchemaError

_OLD = 'the directory was last written with a version that noted less about the class'
_FORMATS = {'date-time': 'datetime', 'date': 'date', 'time': 'time', 'duration': 'timedelta', 'uuid': 'UUID'}
_SIMPLE = {'integer': 'int', 'number': 'float', 'boolean': 'bool', 'null': 'None', 'string': 'str'}


def guessed(
    name: str,
    columns: Mapping[str, str],
    json_schema: Mapping[str, Any] | None,
    kinds: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """
    Return a blueprint, as far as it can be told.

    Args:
        name: What to call the class if the JSON schema does not say.
        columns: The types of its columns by flat name, as `docindex.schema.Schema.describe` gives them.
        json_schema: The JSON schema, if there is one.
        kinds: What the values of columns are to filters, by flat name; see `docindex.kinds`.
        settings: What the class says of columns beside their types, by flat name.

    Raises:
        SchemaError: it makes no sense: a stranger wrote it.
    """
    try:
        return _Guess(columns, json_schema or {}, kinds, settings).blueprint(name)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f'what the directory says of its columns makes no sense: {error!r:.200}') from error


class _Guess:
    """Puts classes together from columns."""

    def __init__(
        self,
        columns: Mapping[str, str],
        json_schema: Mapping[str, Any],
        kinds: Mapping[str, str],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._columns = columns
        self._kinds = kinds
        self._settings = settings
        self._definitions: Mapping[str, Any] = json_schema.get('$defs', {})
        self._schema = self._resolved(json_schema)
        self._classes: dict[str, Any] = {}

    def blueprint(self, name: str) -> dict[str, Any]:
        """Return what is known."""
        root = self._document(str(self._schema.get('title', name)), '', self._schema)
        return {'root': root, 'classes': self._classes, 'unknown': [_OLD]}

    def _document(self, name: str, flat: str, schema: Mapping[str, Any]) -> Type:
        """Return the class of documents, those at a flat name or the outermost, whose JSON schema this is."""
        while name in self._classes:  # of the same name, or in several places
            name += '_'
        self._classes[name] = {}
        inside = [one for one in self._columns if self._outer(one) == flat]
        properties = schema.get('properties', {})
        fields = {}
        for one in inside:
            field = one[len(flat) + 2 :] if flat else one
            # Whether a field has a default is of no interest to a reader, who never misses one.
            type_ = self._column(one, properties.get(field, {}))
            fields[field] = {'type': type_, 'factory': None, 'settings': self._said(one, type_)}
        extra = {'extra': 'allow'} if schema.get('additionalProperties') is True else {}
        self._classes[name] = {'kind': 'document', 'base': 'BaseDoc', 'config': extra, 'fields': fields}
        return ['class', name]

    def _said(self, flat: str, type_: Type) -> dict[str, Any]:
        """Return the settings of a field."""
        return {'index': False} if _holds_tensor(type_) else dict(self._settings.get(flat, {}))

    def _outer(self, flat: str) -> str:
        """Return the flat name of the document or list that a column is in."""
        outer = [one for one in self._columns if flat.startswith(f'{one}__') and _is_document(self._columns[one])]
        return max(outer, key=len, default='')

    def _column(self, flat: str, schema: Mapping[str, Any]) -> Type:
        """Return the type of a column, whose JSON schema may say more."""
        written = self._columns[flat]
        bare = written.removesuffix(' | None')
        if bare == 'document':
            inner = self._inner(schema)
            found = self._document(str(inner.get('title', flat)), flat, inner)
        elif bare == 'documents':
            listed = next((one for one in _options(schema) if one.get('type') == 'array'), {})
            inner = self._resolved(listed.get('items', {}))
            found = ['doclist', self._document(str(inner.get('title', flat)), flat, inner)]
        elif bare.startswith('vector['):
            found = ['annotated', 'AnyTensor', [{'settings': {'dim': int(bare[7:-1])}}]]
        else:
            found = self._written(bare, flat)
        return found if bare == written else ['union', found, 'None']

    def _written(self, written: str, flat: str) -> Type:
        try:
            if 'enum' not in self._definitions.get(written, {'enum': []}):
                raise ValueError(written)  # a dataclass, say; a document would have columns
            return self._parsed(ast.parse(written, mode='eval').body)
        except (LookupError, ValueError, SyntaxError, TypeError, RecursionError):
            # What filters look at says what the values are.
            base = {'text': 'str', 'number': 'float', 'list': 'list', 'dict': 'dict'}.get(self._kinds.get(flat, ''))
            return ['opaque', written, base]

    def _parsed(self, node: ast.expr) -> Type:
        """Return a type as it is written."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return ['union', self._parsed(node.left), self._parsed(node.right)]
        if isinstance(node, ast.Constant) and node.value is None:
            return 'None'
        if isinstance(node, ast.Name):
            return node.id if node.id in NAMED else self._defined(node.id)
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)):
            raise ValueError(ast.unparse(node))
        of, inner = node.value.id, node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if of in TENSORS:
            axes = [ast.literal_eval(axis) for axis in inner]
            return ['tensor', of, [None if axis is ... else axis for axis in axes]]
        if of == 'Literal':
            return ['literal', *map(ast.literal_eval, inner)]
        if of == 'DocList':
            return ['doclist', self._parsed(inner[0])]
        if of not in ORIGINS:
            raise ValueError(of)
        return [of, *(None if _is_ellipsis(one) else self._parsed(one) for one in inner)]

    # -- from the JSON schema ------------------------------------------------------------------------

    def _defined(self, name: str) -> Type:
        """Return a class of the JSON schema: an enumeration as the values it has, a document by its properties."""
        schema = self._definitions[name]
        if 'enum' in schema:
            return ['literal', *schema['enum']]
        if schema.get('type') != 'object':
            return self._described(schema)
        if name not in self._classes:
            self._classes[name] = {}
            fields = {
                field: {'type': ['union', self._described(one), 'Any'], 'factory': None}
                for field, one in schema.get('properties', {}).items()
            }
            config = {'extra': 'allow'}
            self._classes[name] = {'kind': 'document', 'base': 'BaseModel', 'config': config, 'fields': fields}
        return ['class', name]

    def _described(self, schema: Mapping[str, Any]) -> Type:
        if '$ref' in schema:
            return self._defined(_last(schema['$ref']))
        if 'anyOf' in schema:
            return ['union', *map(self._described, schema['anyOf'])]
        if 'enum' in schema:
            return ['literal', *schema['enum']]
        if schema.get('type') == 'array':
            # In a stored document a tensor is a reference to it, and no list; in the JSON schema it is one.
            return ['union', ['list', self._described(schema.get('items', {}))], 'AnyTensor']
        if schema.get('type') == 'object' and isinstance(schema.get('additionalProperties'), dict):
            return ['dict', 'str', self._described(schema['additionalProperties'])]
        if schema.get('type') == 'string' and 'format' in schema:
            return _FORMATS.get(schema['format'], 'Any')
        return _SIMPLE.get(str(schema.get('type')), 'Any')

    def _inner(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of a nested document, which may be optional."""
        return next((self._resolved(one) for one in _options(schema) if '$ref' in one), {})

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        found = self._definitions.get(_last(schema['$ref']), {}) if '$ref' in schema else schema
        return found if isinstance(found, Mapping) else {}


def _holds_tensor(type_: Type) -> bool:
    if isinstance(type_, list):
        return type_[0] == 'tensor' or (type_[0] == 'union' and any(map(_holds_tensor, type_[1:])))
    return type_ in TENSORS


def _options(schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = schema.get('anyOf') or schema.get('allOf') or [schema]
    return found


def _last(reference: str) -> str:
    return reference.rpartition('/')[2]


def _is_document(written: str) -> bool:
    return written.removesuffix(' | None') in ('document', 'documents')


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...
