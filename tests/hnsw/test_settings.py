from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docindex import SettingsError, VectorSettings
from docindex.hnsw.settings import SettingsRecord, first_entry
from docindex.hnsw.sidecar import Sidecar


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path / 's')
    made.create({'columns': {}, 'settings': first_entry({'v': {'dim': 3, 'ef': 50}})})
    yield made
    made.close()


def opened(sidecar: Sidecar, **declared: Any) -> VectorSettings:
    """Return the settings of `v` after opening a directory with a schema that declares these."""
    record = SettingsRecord(sidecar, sidecar.rows.meta()['settings'], {})
    given = {'v': {'dim': 3, **declared}}
    record.put(record.news(given), given)
    return record.effective['v']


def configured(sidecar: Sidecar, **settings: Any) -> None:
    record = SettingsRecord(sidecar, sidecar.rows.meta()['settings'], {})
    record.put({'v': record.effective['v'].changed(settings, 'v')}, {})


def test_the_first_schema_decides(sidecar: Sidecar) -> None:
    """A new directory takes what the schema declares, and the defaults for the rest."""
    assert opened(sidecar, ef=50) == VectorSettings(dim=3, ef=50)


def test_what_was_configured_survives_the_same_schema(sidecar: Sidecar) -> None:
    """What a schema says as before does not undo `configure`."""
    configured(sidecar, ef=80, M=5)
    assert opened(sidecar, ef=50) == VectorSettings(dim=3, ef=80, M=5)


def test_what_a_schema_says_anew_counts(sidecar: Sidecar) -> None:
    """A value that the schema changed, or says for the first time, comes into force."""
    configured(sidecar, ef=80, M=5)
    assert opened(sidecar, ef=60, M=7) == VectorSettings(dim=3, ef=60, M=7)


def test_what_a_schema_no_longer_says_stays(sidecar: Sidecar) -> None:
    """A setting that disappears from the schema keeps its value, and saying it again changes nothing."""
    configured(sidecar, ef=80)
    assert opened(sidecar).ef == 80
    assert opened(sidecar, ef=50).ef == 80
    assert opened(sidecar, ef=51).ef == 51
    assert opened(sidecar, ef=50).ef == 50


def test_a_bad_value_changes_nothing(sidecar: Sidecar) -> None:
    """I7: a setting out of range is refused, and neither it nor what came with it is remembered."""
    with pytest.raises(SettingsError, match='v: M must be'):
        opened(sidecar, ef=60, M=1)
    assert opened(sidecar, ef=50) == VectorSettings(dim=3, ef=50)


def test_a_reader_sets_some_for_itself(sidecar: Sidecar) -> None:
    """An overlay comes over what is stored, whatever is stored later, and is not stored itself."""
    record = SettingsRecord(sidecar, sidecar.rows.meta()['settings'], {'v': {'ef': 99}})
    assert record.effective['v'] == VectorSettings(dim=3, ef=99)
    configured(sidecar, ef=80, M=5)
    assert record.remember(sidecar.rows.meta()['settings']) == {'v': VectorSettings(dim=3, ef=99, M=5)}
    assert opened(sidecar, ef=50) == VectorSettings(dim=3, ef=80, M=5)


def test_what_is_remembered_as_before_is_no_change(sidecar: Sidecar) -> None:
    """Of the settings on disk, only those fields are told that have changed since the last look."""
    record = SettingsRecord(sidecar, sidecar.rows.meta()['settings'], {})
    assert record.remember(sidecar.rows.meta()['settings']) == {}
    configured(sidecar, ef=80)
    assert record.remember(sidecar.rows.meta()['settings']) == {'v': VectorSettings(dim=3, ef=80)}
    assert record.remember(sidecar.rows.meta()['settings']) == {}


def test_only_what_is_new_is_written(sidecar: Sidecar) -> None:
    """Putting settings says whether anything was written; what is in force already is not written again."""
    record = SettingsRecord(sidecar, sidecar.rows.meta()['settings'], {})
    commits = sidecar.commits()
    assert not record.put({'v': record.effective['v']}, {'v': {'dim': 3, 'ef': 50}})
    assert sidecar.commits() == commits
    assert record.put({'v': record.effective['v'].changed({'ef': 60}, 'v')}, {})
    assert sidecar.commits() == commits + 1
