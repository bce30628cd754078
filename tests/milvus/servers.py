"""
Servers for tests: Milvus Lite in a process of its own, on loopback, which can be killed and started again.

With `MILVUS_URI` (and `MILVUS_TOKEN`, `MILVUS_DB`) in the environment, tests that only need some server use that one.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pydantic import BaseModel
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2_grpc

from docindex.milvus.index import MilvusDocumentIndex

_STARTS_WITHIN = 120  # seconds; it takes three on a machine that has nothing else to do


class LiteServer:
    """
    Milvus Lite as a server on loopback.

    Args:
        data_dir: Where its data is.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address, the same after each start."""
        return f'http://127.0.0.1:{self._port}'

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.start_soon()
        self.wait()

    def start_soon(self) -> None:
        """Start it, and wait for nothing."""
        command = [sys.executable, '-m', 'milvus_lite', 'server', '--host', '127.0.0.1']
        command += ['--port', str(self._port), '--data-dir', str(self._data_dir)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + _STARTS_WITHIN
        while not is_listening(self._port):
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f'no Milvus Lite at {self.uri}')
            time.sleep(0.05)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default without any warning, and wait until it has gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


@contextmanager
def lite_server(data_dir: Path) -> Iterator[LiteServer]:
    """Run a server as long as the block takes."""
    server = LiteServer(data_dir)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(('127.0.0.1', 0))
        return int(one.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether somebody listens on a port of loopback."""
    with closing(socket.socket()) as one:
        return one.connect_ex(('127.0.0.1', port)) == 0


def server_of_environment() -> dict[str, str] | None:
    """Return how to open an index on the server that the environment names; None: it names none."""
    if 'MILVUS_URI' not in os.environ:
        return None
    names = {'uri': 'MILVUS_URI', 'token': 'MILVUS_TOKEN', 'db_name': 'MILVUS_DB'}
    return {option: os.environ[name] for option, name in names.items() if name in os.environ}


def opened(doc_type: type[BaseModel], options: dict[str, Any]) -> MilvusDocumentIndex[Any]:
    """Return an index of a document class, opened with some options."""
    return MilvusDocumentIndex[doc_type](**options)  # type: ignore[valid-type]  # known when it runs


def drop_all(options: dict[str, Any], index_name: str) -> None:
    """Remove the collections of an index, so that a server that is not ours is left as it was."""
    client = MilvusClient(**options)
    try:
        for collection in client.list_collections():
            if collection == index_name or collection.startswith(f'{index_name}__'):
                client.drop_collection(collection)
    finally:
        client.close()


class GuardedServer(grpc.ServerInterceptor):
    """
    Milvus Lite as a server in this process, which can be told to be older, to want a token, or to fail.

    Args:
        data_dir: Where its data is.
        token: What clients have to give; empty: nothing.
        version: What it says that it is.
        sends: How many bytes an answer has at most.

    Attributes:
        token: See above.
        unavailable: How many calls from now on it refuses to answer for the moment.
        calls: The names of all calls that came.
    """

    def __init__(self, data_dir: Path, token: str = '', version: str = '', sends: int = 64 << 20) -> None:
        self.token = token
        self.unavailable = 0
        self.calls: list[str] = []
        self._db = MilvusLite(str(data_dir))
        # What a server takes, and not four times as much, as Milvus Lite does.
        options = [('grpc.max_receive_message_length', 64 << 20), ('grpc.max_send_message_length', sends)]
        self._server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[self], options=options)
        servicer = _Versioned(self._db, version) if version else MilvusServicer(self._db)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, self._server)
        port = self._server.add_insecure_port('127.0.0.1:0')
        self.uri = f'http://127.0.0.1:{port}'
        self._server.start()

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Answer a call, or refuse to."""
        call = handler_call_details.method.rpartition('/')[2]
        self.calls.append(call)
        given = base64.b64decode(dict(handler_call_details.invocation_metadata).get('authorization', '')).decode()
        if self.token and given != self.token:
            return _refusal(grpc.StatusCode.UNAUTHENTICATED, f'auth check failure, {given!r} is not right')
        if self.unavailable and call != 'Connect':
            self.unavailable -= 1
            return _refusal(grpc.StatusCode.UNAVAILABLE, 'come back later')
        return continuation(handler_call_details)

    def close(self) -> None:
        """End it."""
        self._server.stop(None).wait()
        self._db.close()


class _Versioned(MilvusServicer):
    def __init__(self, db: MilvusLite, version: str) -> None:
        super().__init__(db)
        self._version = version

    def GetVersion(self, request: Any, context: Any) -> Any:
        answer = super().GetVersion(request, context)
        answer.version = self._version
        return answer


def _refusal(code: grpc.StatusCode, details: str) -> Any:
    return grpc.unary_unary_rpc_method_handler(lambda request, context: context.abort(code, details))


@contextmanager
def guarded_server(data_dir: Path, **options: Any) -> Iterator[GuardedServer]:
    """Run a server in this process as long as the block takes."""
    server = GuardedServer(data_dir, **options)
    try:
        yield server
    finally:
        server.close()
