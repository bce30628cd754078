"""
Modules that are called by their names.

A list of documents can become a table, and a document can be printed; what does that knows lists and documents, so
that they cannot import it. They ask for it here when somebody calls.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def later(name: str) -> ModuleType:
    """Return a module of this package, imported at its first use."""
    return import_module(f'.{name}', __package__)
