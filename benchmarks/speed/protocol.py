"""The driver's side of a worker: it is started, asked one thing at a time, and ended when it takes too long."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class NoAnswerError(Exception):
    """There is no figure, and `entry` says in a result file why not."""

    def __init__(self, entry: dict[str, Any]) -> None:
        super().__init__(str(entry))
        self.entry = entry


class Worker:
    """One engine in its own process, and one directory."""

    def __init__(self, name: str, python: Path, directory: Path, data: Path, limit: float) -> None:
        self.opening = 0.0
        """How many seconds opening or creating its index took."""
        self._limit = limit
        self._log = directory.with_name(f'{directory.name}.log')
        self._command = [str(python), '-m', 'benchmarks.speed.worker', name, str(directory), str(data)]
        # What pip installs has its bytecode. Of docindex, run from a checkout, parts would be compiled while opening
        # is measured, 4 ms: a tenth of what loading 20,000 x 384 takes.
        self._environment = {**os.environ, 'PYTHONPYCACHEPREFIX': str(directory.with_name('bytecode'))}
        self._environment.pop('PYTHONDONTWRITEBYTECODE', None)
        self._start()

    def _start(self) -> None:
        with self._log.open('a') as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=self._environment,
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process, self._answers), daemon=True)
        self._reader.start()
        self.told = self.ask('hello')

    @staticmethod
    def _read(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        """Pass answers on; an empty one says that the process has ended."""
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    answers.put(line)
        answers.put('')

    def ask(self, do: str, limit: float | None = None, **given: Any) -> dict[str, Any]:
        """
        Return the answer to a command.

        Raises:
            NoAnswerError: it took longer than the limit (the process is ended then), the engine has no such thing, or
                fails.
        """
        limit = self._limit if limit is None else limit
        if self._process.stdin is None or self._process.poll() is not None:
            raise NoAnswerError({'fails': f'the process has ended, see {self._log}'})
        self._process.stdin.write(json.dumps({'do': do, **given}) + '\n')
        self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=max(limit, 0.001))
        except queue.Empty:
            self.end(patience=0)
            raise NoAnswerError({'not_finished': self._limit}) from None
        if not line:
            raise NoAnswerError({'fails': f'the process died: {last_line(self._log)}'})
        answer: dict[str, Any] = json.loads(line)
        if 'has_none' in answer or 'fails' in answer:
            raise NoAnswerError(answer)
        return answer

    @property
    def has_ended(self) -> bool:
        """Whether there is no process to ask any more."""
        return self._process.poll() is not None

    def end(self, patience: float = 60) -> None:
        """End the process: nicely, if it does so in time."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):  # it has died, which has been said
                self._process.stdin.close()
        began = time.monotonic()
        while self._process.poll() is None and time.monotonic() - began < patience:
            time.sleep(0.02)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()


def last_line(log: Path) -> str:
    """Return the last line that a process has written to its log."""
    return ([line for line in log.read_text(errors='replace').splitlines() if line.strip()] or ['without a word'])[-1]
