"""A browser without a window: Chromium, asked through its DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.programs import PATIENCE

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


class Browser:
    """One page. Use it in a `with` block, for the process has to be ended."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        asked, self._ask = os.pipe()
        self._answers, answered = os.pipe()
        command = [CHROMIUM, *_OPTIONS, f'--user-data-dir={profile}']
        self._process = subprocess.Popen(
            [sys.executable, '-c', _WITH_PIPES, str(asked), str(answered), *command],
            pass_fds=(asked, answered),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(asked)
        os.close(answered)
        self._unread = b''
        self._number = 0
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        """What has happened since the page was opened."""

    def __enter__(self) -> Browser:
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self) -> None:
        target = self._call('Target.createTarget', url='about:blank')['targetId']
        attached = self._call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = {'sessionId': attached['sessionId']}
        for domain in ('Page', 'Runtime', 'Network'):
            self._call(f'{domain}.enable')

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._ask)
        os.close(self._answers)

    def resize(self, width: int, height: int) -> None:
        """Show pages as a phone of this size would."""
        self._call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=True)

    def open(self, url: str) -> None:
        """Load a page, scripts and pictures included."""
        self.events.clear()
        self._call('Page.navigate', url=url)
        self.wait_for('document.readyState === "complete"')

    def wait_for(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        until = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < until, f'{condition} does not come true'
            time.sleep(0.02)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self._call('Input.insertText', text=text)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = self._call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in found, found['exceptionDetails']
        return found['result'].get('value')

    @property
    def problems(self) -> list[str]:
        """What could not be loaded, and exceptions of scripts, since the page was opened."""
        failed = [event for event in self.events if event['method'] == 'Network.loadingFailed']
        raised = [event for event in self.events if event['method'] == 'Runtime.exceptionThrown']
        missing = [
            event['params']['response']['url']
            for event in self.events
            if event['method'] == 'Network.responseReceived' and event['params']['response']['status'] >= 400
        ]
        # What a page that was left had not loaded yet is no problem.
        return [json.dumps(one['params']) for one in (*failed, *raised) if not one['params'].get('canceled')] + missing

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {'id': self._number, 'method': method, 'params': parameters, **self._session}
        os.write(self._ask, json.dumps(request).encode() + b'\0')
        while True:
            message = self._next()
            if message.get('id') == self._number:
                assert 'error' not in message, message
                found: dict[str, Any] = message['result']
                return found
            if 'method' in message:
                self.events.append(message)

    def _next(self) -> dict[str, Any]:
        while b'\0' not in self._unread:
            is_there, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert is_there, 'the browser says nothing'
            more = os.read(self._answers, 1 << 16)
            assert more, 'the browser has ended'
            self._unread += more
        message, _, self._unread = self._unread.partition(b'\0')
        found: dict[str, Any] = json.loads(message)
        return found


_WITH_PIPES = """
import fcntl, os, sys
asked, answered = (fcntl.fcntl(int(given), fcntl.F_DUPFD, 20) for given in sys.argv[1:3])
os.dup2(asked, 3)  # from which --remote-debugging-pipe reads requests
os.dup2(answered, 4)  # to which it writes answers and events
os.execv(sys.argv[3], sys.argv[3:])
"""
_OPTIONS = (
    '--headless=new',
    '--remote-debugging-pipe',
    '--no-sandbox',  # tests may be run by root, as whom it does not start otherwise
    '--disable-gpu',
    '--disable-background-networking',
    '--no-first-run',
)
