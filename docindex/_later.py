"""
Modules that are called by their names.

Two kinds. Some know who calls them: a list of documents can become a table, and a document can be printed; what does
that knows lists and documents, so that they cannot import it. Others are left alone until a call needs them, so that a
program which only indexes and finds does not wait for them: loading, exporting, checking, reading media. And what
`docindex` itself shows, its public names, it asks for when somebody uses them.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def later(name: str) -> ModuleType:
    """Return a module of this package, imported at its first use."""
    return import_module(f'.{name}', __package__)
