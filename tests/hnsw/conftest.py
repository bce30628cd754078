import logging
from pathlib import Path

import pytest


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A directory that does not exist yet."""
    return tmp_path / 'work'


@pytest.fixture
def warnings_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the library says in its log, from warnings on."""
    caplog.set_level(logging.WARNING, 'docindex')
    return caplog
