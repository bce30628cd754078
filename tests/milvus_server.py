"""
Tests on a real Milvus server, the newest that pip installs: python -m tests.milvus_server [arguments for pytest].

The package `milvus` 2.3.5 is Milvus itself, in Go and C++. It listens on all interfaces, so it runs in a network of its
own, with a loopback and nothing else, and pytest beside it: that takes Linux and root. The package needs an older
setuptools than most environments have, so it may be in one of its own:

    python3 -m venv ~/milvus-venv && ~/milvus-venv/bin/pip install milvus==2.3.5 'setuptools<80'
    MILVUS_PYTHON=~/milvus-venv/bin/python .venv/bin/python -m tests.milvus_server

Where it cannot run, it says why, and that is no failure. `tests/milvus/test_old_server.py`
has what this server can do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.__main__ import ROOT, say

_TESTS = ['tests/milvus/test_old_server.py']
_INSIDE = 'DOCINDEX_IN_OWN_NETWORK'
_URI = 'http://127.0.0.1:19530'
# Writes a line when it is ready, and goes on until its standard input ends.
_SERVER = """
import sys
from milvus import MilvusServer, MilvusServerConfig

server = MilvusServer(MilvusServerConfig(data_dir=sys.argv[1], proxy_port=19530))
server.start()
print('ready', flush=True)
sys.stdin.read()
server.stop()
"""


def main(arguments: list[str]) -> int:
    if os.environ.get(_INSIDE):
        return _in_own_network(arguments)
    reason = _why_not()
    if reason is not None:
        say(f'skipped: {reason}')
        return 0
    inside = 'ip link set lo up && exec "$@"'
    command = ['unshare', '--net', 'sh', '-c', inside, 'sh', sys.executable, '-m', 'tests.milvus_server', *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, _INSIDE: '1'}, check=False).returncode


def _why_not() -> str | None:
    """Return why the server cannot run here; None: it can."""
    if not sys.platform.startswith('linux'):
        return 'the server that pip installs is for Linux'
    if os.geteuid() != 0:
        return 'a network of its own takes root'
    missing = [program for program in ('unshare', 'ip') if shutil.which(program) is None]
    if missing:
        return f'there is no {" and no ".join(missing)}'
    if subprocess.run(['unshare', '--net', 'ip', 'link', 'set', 'lo', 'up'], check=False).returncode:
        return 'this machine lets nobody have a network of its own'
    if subprocess.run([_python(), '-c', 'import milvus'], check=False, capture_output=True).returncode:
        return f"{_python()} has no package 'milvus'; MILVUS_PYTHON names another Python"
    return None


def _python() -> str:
    return os.environ.get('MILVUS_PYTHON', sys.executable)


def _in_own_network(arguments: list[str]) -> int:
    chosen = [argument for argument in arguments if argument.startswith('tests')]
    command = [sys.executable, '-m', 'pytest', *([] if chosen else _TESTS), *arguments]
    with tempfile.TemporaryDirectory(prefix='docindex-milvus-') as directory, _server(Path(directory)):
        return subprocess.run(command, cwd=ROOT, env={**os.environ, 'MILVUS_URI': _URI}, check=False).returncode


@contextmanager
def _server(directory: Path) -> Iterator[None]:
    """Run the server as long as the block takes."""
    command = [_python(), '-c', _SERVER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not process.stdout or process.stdout.readline() != 'ready\n':
                raise RuntimeError('the server did not start')
            say(f'Milvus is ready at {_URI}')
            yield
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
