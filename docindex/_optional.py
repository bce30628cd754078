"""Libraries that only some of the calls need: imported where they are used, missed with a word about what to do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MissingLibraryError


def optional(library: str, extra: str | None, what: str, package: str | None = None) -> Any:
    """
    Return an optional library.

    Args:
        library: Its import name.
        extra: The extra of this package that installs it, if one does.
        what: What needs it, in a word or two: 'Arrow tables'.
        package: What pip calls it, if not as its import name begins.

    Raises:
        MissingLibraryError: it is not installed; the message says what to install.
    """
    try:
        return import_module(library)
    except ImportError as error:
        package = package or library.partition('.')[0]
        ours = f"pip install 'docindex-hnsw[{extra}]', or " if extra else ''
        raise MissingLibraryError(f'{what} need {package}: {ours}pip install {package}', name=library) from error
