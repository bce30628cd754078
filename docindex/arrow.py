"""
Documents as Arrow tables and Parquet files, and back.

Vectors are fixed-size lists of numbers, read and written as whole matrices: there is never a Python float for each of
their numbers. Tensors of several axes are such lists of lists; where shapes differ, each is kept as dtype, shape and
bytes. A list of documents is a list of structs. What Arrow has no type for is JSON, see `docindex.tables`.

Types that depend on the values (the dtype of tensors, whether times have a zone) follow the documents at hand;
without any, vectors are float32 and times have no zone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel

from ._optional import optional
from .errors import TableError
from .frameworks import Array
from .tables import (
    STRICT_TEXTS,
    BadCellError,
    Form,
    Rows,
    TableColumn,
    at_row,
    plain_cell,
    read_cells,
    rows_of,
    strict_list,
    tensor_from_parts,
    text_reader,
    type_of,
)
from .tensorjson import tensor_from_json
from .tensors import as_array

if TYPE_CHECKING:
    import pyarrow as pa

D = TypeVar('D', bound=BaseModel)

_BATCH_ROWS = 10_000
_UNFIT = (ValueError, TypeError, OverflowError, AttributeError)  # what pyarrow and numpy raise for a value


def _pyarrow(what: str = 'Arrow tables') -> Any:
    return optional('pyarrow', 'arrow', what)


# -- the types of columns ------------------------------------------------------------------------------------


def arrow_schema(doc_type: type[BaseModel], docs: Sequence[Any] = ()) -> pa.Schema:
    """
    Return the Arrow schema of a document class.

    Args:
        doc_type: The document class.
        docs: Some of its documents, or all of them: they say of which dtype tensors are and which shape, where the
            class does not, and whether times have a zone.
    """
    arrow = _pyarrow()
    columns = rows_of(doc_type).columns.values()
    return arrow.schema([_field(column, [column.value(doc) for doc in docs]) for column in columns])


def _field(column: TableColumn, cells: Iterable[Any]) -> pa.Field:
    cells = [cell for cell in cells if cell is not None]
    # Not even a key is declared as never null: other libraries make tables in which everything may be.
    return _pyarrow().field(column.name, _type(column.form, cells))


def _type(form: Form, cells: Sequence[Any]) -> pa.DataType:
    arrow = _pyarrow()
    if form.kind == 'tensor':
        return _tensor_type(form, cells)
    if form.kind == 'list' and form.item is not None:
        return arrow.list_(_type(form.item, [item for cell in cells for item in cell if item is not None]))
    if form.kind == 'documents' and form.rows is not None:
        docs = [*chain.from_iterable(cells)]
        return arrow.list_(
            arrow.struct(_field(column, map(column.value, docs)) for column in form.rows.columns.values())
        )
    if form.kind in ('datetime', 'time'):
        zones = {cell.utcoffset() is not None for cell in cells}
        if len(zones) == 2 or (form.kind == 'time' and True in zones):
            return arrow.string()  # Arrow's columns have one zone, or none; a text can have each
        return arrow.time64('us') if form.kind == 'time' else arrow.timestamp('us', 'UTC' if True in zones else None)
    simple = {
        'bool': arrow.bool_(),
        'presence': arrow.bool_(),
        'int': arrow.int64(),
        'float': arrow.float64(),
        'bytes': arrow.binary(),
        'date': arrow.date32(),
        'timedelta': arrow.duration('us'),
    }
    return simple.get(form.kind, arrow.string())


def _tensor_type(form: Form, cells: Sequence[Any]) -> pa.DataType:
    arrow = _pyarrow()
    arrays = [as_array(cell) for cell in cells]
    shapes = {array.shape for array in arrays}
    shape = form.shape or (shapes.pop() if len(shapes) == 1 else None)
    if shape is None or 0 in shape:
        return arrow.struct(
            [('dtype', arrow.string()), ('shape', arrow.list_(arrow.int64())), ('data', arrow.binary())]
        )
    made = arrow.from_numpy_dtype(np.result_type(*{array.dtype for array in arrays}) if arrays else np.float32)
    for length in reversed(shape):
        made = arrow.list_(made, length)
    return made


# -- documents to Arrow --------------------------------------------------------------------------------------


def to_record_batch(
    docs: Sequence[Any], schema: pa.Schema, doc_type: type[BaseModel], *, first_row: int = 0
) -> pa.RecordBatch:
    """
    Return documents as one record batch.

    Args:
        docs: Documents of one class.
        schema: What `arrow_schema` gives, or some of its columns. Its dtypes count: a float64 vector is rounded where
            the schema says float32.
        doc_type: Their class.
        first_row: The number of the first of them, for errors.

    Raises:
        TableError: a value does not fit its column; the message names the row, the column and the reason.
    """
    columns = rows_of(doc_type).columns
    arrays = [_column(columns[field.name], field.type, docs, first_row) for field in schema]
    return _pyarrow().RecordBatch.from_arrays(arrays, schema=schema)


def _column(column: TableColumn, to_type: pa.DataType, docs: Sequence[Any], first_row: int = 0) -> pa.Array:
    cells = [column.value(doc) for doc in docs]
    try:
        return _array(column.form, cells, to_type)
    except _UNFIT as whole:
        for number, cell in enumerate(cells):
            try:
                _array(column.form, [cell], to_type)
            except _UNFIT as error:
                reason = ' '.join(str(error).split())
                raise TableError(
                    at_row(first_row + number, docs[number], f'{column.name}: {reason}'),
                    row=first_row + number,
                    column=column.name,
                ) from error
        raise TableError(f'{column.name}: {whole}', column=column.name) from whole


def _array(form: Form, cells: Sequence[Any], to_type: pa.DataType) -> pa.Array:
    arrow = _pyarrow()
    if form.kind == 'tensor':
        return _tensors(cells, to_type)
    if form.kind == 'list' and form.item is not None:
        return _lists(cells, to_type, _array(form.item, _flat(cells), to_type.value_type))
    if form.kind == 'documents' and form.rows is not None:
        return _lists(cells, to_type, _structs(form.rows, _flat(cells), to_type.value_type))
    is_text = arrow.types.is_string(to_type)
    return arrow.array([None if cell is None else plain_cell(form, cell, is_text) for cell in cells], to_type)


def _flat(cells: Iterable[Any]) -> list[Any]:
    return [*chain.from_iterable(cell for cell in cells if cell is not None)]


def _lists(cells: Sequence[Any], to_type: pa.DataType, items: pa.Array) -> pa.Array:
    arrow = _pyarrow()
    ends = np.cumsum([0, *(0 if cell is None else len(cell) for cell in cells)], dtype=np.int32)
    return arrow.ListArray.from_arrays(arrow.array(ends), items, type=to_type, mask=_missing(cells))


def _structs(rows: Rows[Any], docs: Sequence[Any], to_type: pa.DataType) -> pa.Array:
    members = [_column(rows.columns[field.name], field.type, docs) for field in to_type]
    return _pyarrow().StructArray.from_arrays(members, fields=list(to_type))


def _tensors(cells: Sequence[Any], to_type: pa.DataType) -> pa.Array:
    arrow = _pyarrow()
    arrays = [None if cell is None else as_array(cell) for cell in cells]
    if arrow.types.is_struct(to_type):
        return arrow.array([None if array is None else _spelt_out(array) for array in arrays], to_type)
    shape, dtype = _matrix_type(to_type)
    matrix = np.zeros((len(cells), *shape), dtype)
    for number, array in enumerate(arrays):
        if array is not None and array.shape != shape:
            raise ValueError(f'expected a tensor of shape {shape}, got one of shape {array.shape}')
        if array is not None:
            np.copyto(matrix[number : number + 1], array, casting='same_kind')
    return _fixed_size_lists(matrix, to_type, _missing(cells))


def _fixed_size_lists(matrix: Array, to_type: pa.DataType, missing: pa.Array | None) -> pa.Array:
    arrow = _pyarrow()
    if matrix.ndim == 1:
        return arrow.array(matrix, to_type, mask=None if missing is None else np.asarray(missing))
    items = _fixed_size_lists(matrix.reshape(-1, *matrix.shape[2:]), to_type.value_type, None)
    return arrow.FixedSizeListArray.from_arrays(items, type=to_type, mask=missing)


def _missing(cells: Iterable[Any]) -> pa.Array:
    return _pyarrow().array([cell is None for cell in cells], 'bool')


def _spelt_out(array: Array) -> dict[str, Any]:
    return {'dtype': array.dtype.str, 'shape': list(array.shape), 'data': np.ascontiguousarray(array).tobytes()}


def _matrix_type(of: pa.DataType) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape of the tensors in a column of fixed-size lists, and their dtype."""
    shape = []
    while _pyarrow().types.is_fixed_size_list(of):
        shape.append(of.list_size)
        of = of.value_type
    return tuple(shape), np.dtype(of.to_pandas_dtype())


# -- Arrow to documents --------------------------------------------------------------------------------------


def rows_from_record_batch(
    batch: pa.RecordBatch, doc_type: type[BaseModel], *, first_row: int = 0
) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a record batch as nested dicts, which the document class validates.

    Vectors are rows of one numpy matrix with the dtype of the column. A struct whose name is that of a nested document
    is as good as columns `outer__inner`. Columns that no field has are ignored.

    Args:
        batch: The record batch.
        doc_type: The document class.
        first_row: The number of its first row, for errors.

    Raises:
        TableError: a column is missing, looks like a misspelt one, is there twice, or has a cell that cannot be read.
    """
    rows = rows_of(doc_type)
    flat = list(_flattened(zip(batch.schema, batch.columns, strict=True), rows, ''))
    arrays = dict(flat)
    cells: dict[str, Sequence[Any]] = {}
    for name in rows.known(name for name, _ in flat):
        try:
            cells[name] = _values(rows.columns[name].form, arrays[name], rows.columns[name].is_strict)
        except BadCellError as error:
            raise error.at(first_row, name) from error
    return rows.rows(cells)


def _flattened(columns: Iterable[tuple[Any, Any]], rows: Rows[Any], outer: str) -> Iterator[tuple[str, Any]]:
    for field, array in columns:
        name = outer + field.name
        if _pyarrow().types.is_struct(array.type) and rows.is_document(name):
            yield from _flattened(zip(array.type, array.flatten(), strict=True), rows, f'{name}__')
        else:
            yield name, array


def _values(form: Form, array: Any, is_strict: bool) -> Sequence[Any]:
    """Return the cells of an Arrow array as what a document class validates; a strict one converts nothing."""
    arrow = _pyarrow()
    types, of = arrow.types, array.type
    if isinstance(array, arrow.ExtensionArray):
        return _values(form, array.storage, is_strict)
    if types.is_dictionary(of):
        return _decoded(form, array, is_strict)
    if form.kind == 'tensor':
        return _tensor_values(form, array)
    if form.kind in ('list', 'documents') and (types.is_fixed_size_list(of) or _is_list(of)):
        return _list_values(form, array, is_strict)
    if _is_text(of):
        reader = text_reader(form, STRICT_TEXTS if is_strict else ())
        return read_cells(_cells(array), form.cells.load if form.kind == 'json' else reader)
    if getattr(of, 'unit', '') == 'ns':  # finer than Python's times; coarser ones may be beyond all microseconds
        unit = arrow.timestamp('us', of.tz) if types.is_timestamp(of) else arrow.duration('us')
        array = array.cast(arrow.time64('us') if types.is_time(of) else unit, safe=False)
    return _cells(array)


def _cells(array: Any) -> list[Any]:
    """Return the cells of an Arrow array as values that Python has."""
    try:
        return list(array.to_pylist(maps_as_pydicts='lossy'))
    except _UNFIT:  # a year after 9999, a text that is not UTF-8
        return read_cells(array, lambda cell: cell.as_py(maps_as_pydicts='lossy'))


def _decoded(form: Form, array: Any, is_strict: bool) -> Sequence[Any]:
    meanings = _values(form, array.dictionary, is_strict)
    return [None if at is None else meanings[at] for at in array.indices.to_pylist()]


def _list_values(form: Form, array: Any, is_strict: bool) -> list[Any]:
    bounds, inner = _bounds(array)
    inner = inner.slice(bounds[0], bounds[-1] - bounds[0])
    bounds -= bounds[0]
    try:
        items = _values(form.item, inner, is_strict) if form.item is not None else _struct_values(form.rows, inner)
    except BadCellError as error:
        row = int(np.searchsorted(bounds, error.row, 'right')) - 1
        raise BadCellError(row, f'item {error.row - bounds[row]}: {error.reason}') from error
    spans = zip(bounds[:-1].tolist(), bounds[1:].tolist(), _is_valid(array), strict=True)
    made = partial(strict_list, form) if is_strict else list
    return [made(items[start:end]) if valid else None for start, end, valid in spans]


def _struct_values(rows: Rows[Any] | None, array: Any) -> list[Any]:
    if rows is None or not _pyarrow().types.is_struct(array.type):
        return list(array.to_pylist())
    flat = dict(_flattened(zip(array.type, array.flatten(), strict=True), rows, ''))
    cells: dict[str, Sequence[Any]] = {}
    for name in rows.known(flat):
        try:
            cells[name] = _values(rows.columns[name].form, flat[name], rows.columns[name].is_strict)
        except BadCellError as error:
            raise BadCellError(error.row, f'{name}: {error.reason}') from error
    return [*rows.rows(cells)]


def _tensor_values(form: Form, array: Any) -> Sequence[Any]:
    """Return tensors as numpy arrays, None where there is none; rows of one matrix wherever the type allows it."""
    types = _pyarrow().types
    if types.is_fixed_size_list(array.type):
        return _fixed_size_values(array)
    if _is_list(array.type) and _is_number(array.type.value_type):
        return _ragged_values(array)
    if types.is_struct(array.type) and {field.name for field in array.type} >= {'dtype', 'shape', 'data'}:
        return read_cells(array.to_pylist(), tensor_from_parts)
    if _is_text(array.type):
        return read_cells(array.to_pylist(), lambda text: tensor_from_json(json.loads(text), form.is_vector))
    return read_cells(array.to_pylist(), np.asarray)


def _fixed_size_values(array: Any) -> Sequence[Any]:
    shape: list[int] = []
    leaf, start = array, 0
    while _pyarrow().types.is_fixed_size_list(leaf.type):
        shape.append(leaf.type.list_size)
        start = (start + leaf.offset) * leaf.type.list_size
        leaf = leaf.values
    if not _is_number(leaf.type):
        return read_cells(array.to_pylist(), np.asarray)
    leaf = leaf.slice(start, len(array) * int(np.prod(shape)))
    valid = _is_valid(array)
    _check_complete(leaf, np.arange(len(array) + 1) * int(np.prod(shape)), valid)
    matrix = _copied(leaf).reshape(len(array), *shape)
    return [row if is_there else None for row, is_there in zip(matrix, valid, strict=True)]


def _ragged_values(array: Any) -> list[Any]:
    bounds, leaf = _bounds(array)
    leaf = leaf.slice(bounds[0], bounds[-1] - bounds[0])
    bounds -= bounds[0]
    valid = _is_valid(array)
    _check_complete(leaf, bounds, valid)
    numbers = _copied(leaf)
    spans = zip(bounds[:-1].tolist(), bounds[1:].tolist(), valid, strict=True)
    return [numbers[start:end] if is_there else None for start, end, is_there in spans]


def _bounds(array: Any) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Any]:
    """Return where each list begins and the last one ends, and what they are lists of."""
    if _pyarrow().types.is_fixed_size_list(array.type):
        return (np.arange(len(array) + 1) + array.offset) * array.type.list_size, array.values
    return array.offsets.to_numpy(zero_copy_only=False).astype(np.int64), array.values


def _copied(leaf: Any) -> Array:
    # A copy: Arrow's memory cannot be written to, and documents can.
    return np.array(leaf.to_numpy(zero_copy_only=False))


def _is_valid(array: Any) -> Sequence[bool]:
    return [True] * len(array) if not array.null_count else array.is_valid().to_pylist()


def _check_complete(leaf: Any, bounds: Array, valid: Sequence[bool]) -> None:
    """Raise for the first vector in which a number is missing; below a missing vector anything may stand."""
    if not leaf.null_count:
        return
    holes = np.flatnonzero(leaf.is_null().to_numpy(zero_copy_only=False))
    for row in np.searchsorted(bounds, holes, 'right') - 1:
        if valid[row]:
            raise BadCellError(int(row), 'a number is missing in a tensor')


def _is_list(of: pa.DataType) -> bool:
    return bool(_pyarrow().types.is_list(of) or _pyarrow().types.is_large_list(of))


def _is_number(of: pa.DataType) -> bool:
    types = _pyarrow().types
    return bool(types.is_integer(of) or types.is_floating(of) or types.is_boolean(of))


def _is_text(of: pa.DataType) -> bool:
    types = _pyarrow().types
    return bool(types.is_string(of) or types.is_large_string(of) or types.is_string_view(of))


# -- whole lists ---------------------------------------------------------------------------------------------


def to_arrow(docs: Sequence[Any], doc_type: type[Any] | None) -> pa.Table:
    """Return documents as an Arrow table, in batches of 10,000 rows."""
    cls = type_of(docs, doc_type)
    schema = arrow_schema(cls, docs)
    starts = range(0, len(docs), _BATCH_ROWS)
    batches = [to_record_batch(docs[start : start + _BATCH_ROWS], schema, cls, first_row=start) for start in starts]
    return _pyarrow().Table.from_batches(batches, schema)


def from_arrow(table: Any, doc_type: type[D]) -> list[D]:
    """
    Return the rows of a table as documents.

    Args:
        table: An Arrow table, record batch or reader, or anything that gives its data by Arrow's C stream interface.
        doc_type: The document class.

    Raises:
        TableError: a column is missing, or a row does not fit; the message names both and the reason.
    """
    arrow = _pyarrow()
    if isinstance(table, arrow.RecordBatch):
        table = arrow.Table.from_batches([table])
    if not isinstance(table, (arrow.Table, arrow.RecordBatchReader)):
        if not hasattr(table, '__arrow_c_stream__'):
            raise TableError(f'expected an Arrow table, got {type(table).__name__}')
        table = arrow.table(table)
    is_stream = isinstance(table, arrow.RecordBatchReader)
    return _documents(table if is_stream else table.to_batches(_BATCH_ROWS), doc_type)


def _documents(batches: Iterable[pa.RecordBatch], doc_type: type[D]) -> list[D]:
    rows = rows_of(doc_type)
    docs: list[D] = []
    for batch in batches:
        for row in rows_from_record_batch(batch, doc_type, first_row=len(docs)):
            docs.append(rows.document(row, len(docs)))
    return docs


def to_parquet(docs: Sequence[Any], doc_type: type[Any] | None, path: str | PathLike[str]) -> None:
    """Write documents to a Parquet file."""
    optional('pyarrow.parquet', 'arrow', 'Parquet files').write_table(to_arrow(docs, doc_type), path)


def from_parquet(path: str | PathLike[str], doc_type: type[D]) -> list[D]:
    """Return the rows of a Parquet file as documents, read batch by batch; errors as of `from_arrow`."""
    return _documents(parquet_batches(path), doc_type)


def parquet_batches(path: str | PathLike[str], batch_size: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file as record batches, of which memory holds a few at a time."""
    parquet = optional('pyarrow.parquet', 'arrow', 'Parquet files')
    # Reading ahead would hold the whole file: 760 instead of 230 MB for a million vectors of 128 numbers.
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size)
