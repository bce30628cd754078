"""Whether an event loop goes on while something waits for an index."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

PATIENCE = 60


async def goes_on_during(
    call: Coroutine[Any, Any, object], index: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait for a call during which the index is at `method` until the event loop has run something else."""
    has_begun, may_go_on, does = threading.Event(), threading.Event(), getattr(index, method)

    def held(*arguments: Any, **named: Any) -> Any:
        has_begun.set()
        assert may_go_on.wait(PATIENCE), 'the event loop stands still'
        return does(*arguments, **named)

    monkeypatch.setattr(index, method, held)
    task = asyncio.ensure_future(call)
    while not has_begun.is_set():
        assert not task.done(), f'{method} was not called'
        await asyncio.sleep(0.001)
    may_go_on.set()
    await task
