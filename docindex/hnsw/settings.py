"""
The settings of the vector fields, as the directory remembers them.

For each field it keeps what schemas have *declared* and what is *effective*. What a schema declares anew, or otherwise
than the last time, becomes effective; what it says as before, or does not say, leaves alone what `configure` has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CHECK, CorruptIndexError, SettingsError
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
        overlay: What a reader, which cannot change that, sets for itself.

    Attributes:
        effective: The settings in force, by field.
    """

    def __init__(self, sidecar: Sidecar, remembered: dict[str, Any], overlay: Declared) -> None:
        self._sidecar = sidecar
        self._overlay = overlay
        self._remembered: dict[str, Any] = {}
        self.effective: dict[str, VectorSettings] = {}
        self.remember(remembered)

    def remember(self, remembered: dict[str, Any]) -> dict[str, VectorSettings]:
        """
        Take over what is kept on disk by now; return the settings that have changed with it.

        Raises:
            CorruptIndexError: that makes no sense.
        """
        if remembered == self._remembered:
            return {}
        before, self._remembered = self.effective, remembered
        try:
            self.effective = {
                field: VectorSettings().changed({**both['effective'], **self._overlay.get(field, {})}, field)
                for field, both in remembered.items()
                if isinstance(both['declared'], dict)
            }
        except (TypeError, KeyError, SettingsError) as error:  # a stranger's, or damaged
            message = f'this file has settings that make no sense: {error}'
            raise CorruptIndexError(message, self._sidecar.path, CHECK) from error
        return {field: settings for field, settings in self.effective.items() if settings != before.get(field)}

    def news(self, declared: Declared) -> dict[str, VectorSettings]:
        """Return the settings of the fields for which `declared` says something new."""
        return {
            field: self.effective[field].changed(news, field) for field, news in self.declared_anew(declared).items()
        }

    def declared_anew(self, declared: Declared) -> dict[str, dict[str, Any]]:
        """Return what `declared` says anew or otherwise than the last time, by field and name."""
        anew: dict[str, dict[str, Any]] = {}
        for field, given in declared.items():
            if field not in self.effective:
                raise CorruptIndexError(f'this file has no settings for {field!r}', self._sidecar.path, CHECK)
            before = self._remembered[field]['declared']
            news = {name: value for name, value in given.items() if name not in before or before[name] != value}
            if news:
                anew[field] = news
        return anew

    def put(self, changed: Mapping[str, VectorSettings], declared: Declared) -> bool:
        """Put settings in force, durably, and remember what was declared; return whether anything was written."""
        effective = {**self.effective, **changed}
        remembered = {
            field: {
                'declared': {**both['declared'], **declared.get(field, {})},
                'effective': effective[field].to_dict(),
            }
            for field, both in self._remembered.items()
        }
        is_new = remembered != self._remembered
        if is_new:
            self._sidecar.set_meta(settings=remembered)
            self._remembered = remembered
        self.effective = effective
        return is_new
