"""The settings of the vector fields, as the notes of an index remember them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import SettingsError
from ..fields import SEARCH_SETTINGS, VectorSettings
from .notes import Notes

Declared = Mapping[str, Mapping[str, Any]]
"""Settings by field and name."""

_ANY_TIME = SEARCH_SETTINGS | {'max_elements'}


class SettingsRecord:
    """
    The settings in force.

    What `configure` has set stays, until a schema declares the same setting otherwise than when it was set.

    Args:
        notes: Where they are kept.
        declared: What the schema says.

    Attributes:
        effective: The settings in force, by field.
    """

    def __init__(self, notes: Notes, declared: Declared) -> None:
        self._notes = notes
        self._declared = {field: dict(given) for field, given in declared.items()}
        self._configured: dict[str, dict[str, Any]] = {}
        kept = json.loads(notes.get('settings') or '{}')
        for field, both in kept.items():
            now = self._declared.get(field, {})
            for name, value in both['configured'].items():
                if now.get(name) == both['declared'].get(name):
                    self._configured.setdefault(field, {})[name] = value
        self.effective: dict[str, VectorSettings] = {}
        self._apply()

    def _apply(self) -> None:
        self.effective = {
            field: VectorSettings().changed({**given, **self._configured.get(field, {})}, field)
            for field, given in self._declared.items()
        }

    def configure(self, changes: Declared) -> None:
        """
        Change settings, by field, and remember it.

        Raises:
            SettingsError: nobody knows one, it is out of range, or it cannot be changed any more.
        """
        for field, changed in changes.items():
            before = self.effective[field]
            after = before.changed(changed, field)
            for name, value in changed.items():
                if name not in _ANY_TIME and value != getattr(before, name):
                    hint = 'declare it in the schema, and copy_index() into an index with another index_name'
                    raise SettingsError(f'{field}: {name} is built into the collection on Milvus; {hint}')
            if 'max_elements' in changed and after.max_elements < before.max_elements:
                raise SettingsError(f'{field}: max_elements can only grow; it is {before.max_elements:,}')
        for field, changed in changes.items():
            self._configured.setdefault(field, {}).update(changed)
        self._apply()
        kept = {
            field: {'declared': self._declared[field], 'configured': changed}
            for field, changed in self._configured.items()
        }
        self._notes.put('settings', json.dumps(kept))
