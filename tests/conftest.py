"""What all tests share: readable assertions of the shipped test kit, and hypothesis profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite('docindex.testing')

_UNHURRIED = settings(
    deadline=timedelta(seconds=60), suppress_health_check=list(HealthCheck), print_blob=True, report_multiple_bugs=False
)
settings.register_profile('normal', _UNHURRIED, max_examples=80)
# DOCINDEX_HYPOTHESIS=long python -m pytest tests/test_stateful.py
settings.register_profile('long', _UNHURRIED, max_examples=3000)
settings.load_profile(os.environ.get('DOCINDEX_HYPOTHESIS', 'normal'))


@pytest.fixture(scope='session', autouse=True)
def same_graphs() -> Iterator[None]:
    """Build the same graphs in each run, which only one thread does; whoever wants more says how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('docindex.hnsw.graph._threads', lambda settings: max(1, settings.num_threads))
        yield
