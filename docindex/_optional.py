"""Libraries that only some of the calls need: imported where they are used, missed with a word about what to do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MissingLibraryError


def optional(library: str, extra: str, what: str) -> Any:
    """
    Return an optional library.

    Args:
        library: Its import name.
        extra: The extra of this package that installs it.
        what: What needs it, in a word or two: 'Arrow tables'.

    Raises:
        MissingLibraryError: it is not installed; the message says what to install.
    """
    try:
        return import_module(library)
    except ImportError as error:
        root = library.partition('.')[0]
        raise MissingLibraryError(
            f"{what} need {root}: pip install 'docindex-hnsw[{extra}]', or pip install {root}", name=library
        ) from error
