"""What a server takes at once, and gives: texts, rows in a call, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import DocumentError

Row = dict[str, Any]
"""A row of a collection, by the names of its fields."""

LONGEST_TEXT = 65_535
"""How many bytes a string has at most in a collection."""
MOST_TEXTS = 4_096
"""How many strings an array has at most."""
MOST_RESULTS = 16_384
"""How many rows a server returns to one search or query (its limits `topK` and `maxQueryResultWindow`)."""
_LARGEST_CALL = 64 << 20  # bytes a server takes at once (`grpc.serverMaxRecvSize`)
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 4_096
_READ_BYTES = 16 << 20
_SMALL_ROW = 256  # bytes: an id and its place


def readable_rows(row_bytes: int) -> int:
    """Return how many rows of about so many bytes are read at once."""
    most = MOST_RESULTS if row_bytes <= _SMALL_ROW else 1_000  # a document may be larger than it is thought to be
    return max(1, min(most, _READ_BYTES // max(1, row_bytes)))


def size_of(row: Row) -> int:
    """Return about how many bytes a row has on its way."""
    return sum(map(_size, row.values())) + 32 * len(row)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return 4 * len(value) if not value.isascii() else len(value)
    if isinstance(value, (list, tuple)):
        return 8 + sum(map(_size, value))
    if isinstance(value, dict):
        return 8 + sum(_size(key) + _size(item) for key, item in value.items())
    return int(getattr(value, 'nbytes', 8))


def batches(rows: Sequence[Row], name_of: Callable[[Row], str] = str) -> Iterator[Sequence[Row]]:
    """
    Yield rows in batches that each fit into a call.

    Raises:
        DocumentError: one row alone is too large; `name_of` names it.
    """
    start, size = 0, 0
    for at, row in enumerate(rows):
        own = size_of(row)
        if own > _LARGEST_CALL:
            raise DocumentError(
                f'{name_of(row)} has {own:,} bytes, and Milvus takes {_LARGEST_CALL:,} in one call; '
                'keep what is large elsewhere, and its url in the document'
            )
        if at > start and (size + own > _BATCH_BYTES or at - start >= _BATCH_ROWS):
            yield rows[start:at]
            start, size = at, 0
        size += own
    if rows:
        yield rows[start:]
