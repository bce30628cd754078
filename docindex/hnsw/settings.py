"""
The settings of the vector fields, as the directory remembers them.

For each field it keeps what schemas have *declared* and what is *effective*. What a schema declares anew, or otherwise
than the last time, becomes effective; what it says as before, or does not say, leaves alone what `configure` has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..fields import VectorSettings
from .sidecar import Sidecar

Declared = Mapping[str, Mapping[str, Any]]
"""Settings by field and name."""


def first_entry(declared: Declared) -> dict[str, Any]:
    """Return what a new directory remembers."""
    return {
        field: {'declared': dict(given), 'effective': VectorSettings().changed(given, field).to_dict()}
        for field, given in declared.items()
    }


class SettingsRecord:
    """
    The settings in force, and on disk.

    Args:
        sidecar: Where they are kept.
        remembered: What is kept there.

    Attributes:
        effective: The settings in force, by field.
    """

    def __init__(self, sidecar: Sidecar, remembered: dict[str, Any]) -> None:
        self._sidecar = sidecar
        self._remembered = remembered
        self.effective = {field: VectorSettings(**both['effective']) for field, both in remembered.items()}

    def news(self, declared: Declared) -> dict[str, VectorSettings]:
        """Return the settings of the fields for which `declared` says something new."""
        changed: dict[str, VectorSettings] = {}
        for field, given in declared.items():
            before = self._remembered[field]['declared']
            news = {name: value for name, value in given.items() if name not in before or before[name] != value}
            if news:
                changed[field] = self.effective[field].changed(news, field)
        return changed

    def put(self, changed: Mapping[str, VectorSettings], declared: Declared) -> None:
        """Put settings in force, durably, and remember what was declared."""
        effective = {**self.effective, **changed}
        remembered = {
            field: {
                'declared': {**both['declared'], **declared.get(field, {})},
                'effective': effective[field].to_dict(),
            }
            for field, both in self._remembered.items()
        }
        if remembered != self._remembered:
            self._sidecar.set_meta(settings=remembered)
            self._remembered = remembered
        self.effective = effective
