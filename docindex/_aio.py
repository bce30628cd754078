"""
Calls that an event loop need not wait for.

Whoever waits for one has asyncio loaded; it is imported in the calls, so that nobody else loads all that it needs.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

P = ParamSpec('P')
R = TypeVar('R')


async def beside(call: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
    """Return what `call` returns, from a thread of asyncio's own pool."""
    import asyncio

    return await asyncio.to_thread(call, *arguments, **named)


class OneByOne:
    """
    One thread for the calls that could only wait for each other.

    In asyncio's pool a few waiting writes would occupy all threads, and searches would wait for them.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, call: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
        """Return what `call` returns, once the earlier calls are done."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, 'docindex')
        context = contextvars.copy_context()
        future: Future[R] = self._pool.submit(context.run, call, *arguments, **named)  # type: ignore[arg-type]
        return await asyncio.wrap_future(future)

    def end(self) -> None:
        """Let the thread end, once its calls are done."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
