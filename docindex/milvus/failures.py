"""
What goes wrong with a server: what is repeated, and what becomes an error in our words.

pymilvus 3.0 gives up at the first refused connection, though its calls have a timeout: the attempt to connect again,
which it makes at once, is not repeated. So a call is repeated here while its server is away, until the time that it has
is over. All calls that come here can be repeated: rows are stored by their keys, and deleted by what they are.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar, cast
from urllib.parse import unquote

from .._optional import optional
from ..errors import ServerError

T = TypeVar('T')

_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds; the first is twice as long each time, and each is any up to it
_LEAST_TIME = 0.05  # seconds that a call has at least
_LIBRARIES = ('pymilvus', 'milvus_lite', 'grpc')
_LOGGERS = ('pymilvus', 'milvus_lite.server_manager')
_LONGEST_MESSAGE = 500

_PASSING = re.compile(
    r'UNAVAILABLE|fail connecting|connection refused|socket closed|channel closed|closed channel|not ready|'
    r'no available|node not match|rate limit',
    re.IGNORECASE,
)
_LASTING = re.compile(r'UNAUTHENTICATED|PERMISSION_DENIED')
_TOO_LARGE = re.compile(r'larger than max|maxOutputSize', re.IGNORECASE)
_NOT_LOADED = re.compile(r'released|not loaded|not been loaded', re.IGNORECASE)
_HINTS = [
    (r'unauthenticated|auth check|authenti', 'give the right token: "user:password", or an API key'),
    (r'permission', 'this user may not do that; ask for the privilege'),
    (r'database not found|database .*not exist|database .*not found', 'make it first, or leave db_name out'),
    (r'rate limit|quota', 'the server limits how much it takes; wait, or raise its limits'),
    (r'open local milvus failed, dir', 'make the directory that it is to be in'),
    (r'open local milvus failed', 'another process has it open, or it is no directory of Milvus Lite 3'),
    (r'timeout|deadline|unavailable|connect|channel', 'is the server running, and reachable from here?'),
]
_in_call: ContextVar[bool] = ContextVar('_in_call', default=False)


class Failures:
    """
    What to make of the failures of one server.

    Args:
        uri: Its address, without any password.
        secrets: What no message may have in it.
        timeout: Seconds that a call and its repetitions have.
    """

    def __init__(self, uri: str, secrets: list[str], timeout: float) -> None:
        self._uri = uri
        both = {form for secret in secrets for form in (secret, unquote(secret)) if form}
        self._secrets = sorted(both, key=len, reverse=True)
        self._timeout = timeout

    def repeated(self, what: str, call: Callable[[float], T], prepare: Callable[[float], object] | None = None) -> T:
        """
        Return what a call returns.

        Args:
            what: What it does, for a message: 'count in "Film"'.
            call: The call; it gets the seconds that it has.
            prepare: What to do, once, if the server says that a collection is not loaded, as after its restart.

        Raises:
            ServerError: it failed, and would again; or still fails when the time is over.
        """
        tenacity = optional('tenacity', 'milvus', 'Milvus indexes')
        end = monotonic() + self._timeout

        def left() -> float:
            return max(_LEAST_TIME, end - monotonic())

        def attempt() -> T:
            try:
                return call(left())
            except Exception as error:
                if prepare is None or not _NOT_LOADED.search(_message(error)):
                    raise
            prepare(left())
            return call(left())

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            wait=tenacity.wait_random_exponential(_PAUSE, _LONGEST_PAUSE),
            stop=tenacity.stop_before_delay(self._timeout),
            reraise=True,
        )
        return self.once(what, lambda: cast(T, attempts(attempt)))

    def once(self, what: str, call: Callable[[], T]) -> T:
        """
        Return what a call returns; what it logs of its failure is not logged.

        Raises:
            ServerError: it failed.
        """
        try:
            with _quiet():
                return call()
        except Exception as error:
            if not _is_theirs(error):
                raise
            failure = error
        # Out of the except clause: our error would have theirs as its context, whatever that says.
        raise self._error(failure, what) from (None if self._has_secrets(failure) else failure)

    def _error(self, error: Exception, what: str) -> ServerError:
        message = self._without_secrets(_message(error))
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, message, re.IGNORECASE)), '')
        shown = message if len(message) <= _LONGEST_MESSAGE else f'{message[: _LONGEST_MESSAGE - 3]}...'
        return ServerError(f'cannot {what}: {shown}{f"; {hint}" if hint else ""}', self._uri)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, '***')
        return text

    def _has_secrets(self, error: Exception) -> bool:
        text = ''.join(traceback.format_exception(error))
        return any(secret in text for secret in self._secrets)


def is_too_large(error: ServerError) -> bool:
    """Return whether a call failed because its answer is larger than a server sends: a smaller part of it may go."""
    return bool(_TOO_LARGE.search(str(error.args[0])))


def _is_theirs(error: BaseException) -> bool:
    libraries = {one.__module__.partition('.')[0] for one in type(error).__mro__}
    return not libraries.isdisjoint(_LIBRARIES) or isinstance(error, (OSError, RuntimeError, ValueError))


def _passes(error: BaseException) -> bool:
    """Return whether the same call may go well in a moment."""
    message = _message(error)
    return _is_theirs(error) and bool(_PASSING.search(message)) and not _LASTING.search(message)


def _message(error: BaseException) -> str:
    """Return what an error of pymilvus or gRPC says, on one line."""
    said = [_of_grpc(error) or str(getattr(error, 'message', error))]
    # Of a server that lets nobody in pymilvus says that it cannot be reached; gRPC's error behind that knows more.
    seen, cause = {id(error)}, error.__cause__
    while cause is not None and id(cause) not in seen:  # pymilvus raises errors from themselves
        if (behind := _of_grpc(cause)) and not behind.startswith('UNAVAILABLE') and behind not in said:
            said.append(behind)
        seen.add(id(cause))
        cause = cause.__cause__
    return ' '.join('; '.join(said).split())


def _of_grpc(error: BaseException) -> str:
    """Return what an error of gRPC says; of others, nothing."""
    code, details = getattr(error, 'code', None), getattr(error, 'details', None)
    return f'{getattr(code(), "name", "")}: {details()}' if callable(code) and callable(details) else ''


@contextmanager
def _quiet() -> Iterator[None]:
    """Have their libraries log nothing in this block: they log each error that they raise, with its traceback."""
    token = _in_call.set(True)
    try:
        yield
    finally:
        _in_call.reset(token)


class _Raised(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _in_call.get()


_RAISED = _Raised()


def quieten() -> None:
    """Have `Failures` known to the loggers of their libraries, which are there once they are imported."""
    # Not to the topmost alone: a logger's filter is not asked about what comes from those below.
    there = [name for name in logging.root.manager.loggerDict if name.startswith('pymilvus')]
    for name in {*there, *_LOGGERS}:
        logging.getLogger(name).addFilter(_RAISED)  # the same one again counts once
