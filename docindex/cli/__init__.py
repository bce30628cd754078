"""
The command `docindex`: what can be done to a directory, mostly without the Python class of its documents.

Documents come as JSON lines on a pipe, and as tables on a terminal. Exit codes: 0 done, and sound; 1 something is
damaged, does not fit, is not there or was left out; 2 the directory cannot be used, or the command makes no sense; 130
interrupted.
"""

from __future__ import annotations

from . import copying, reading, storing, upkeep
from .app import app, main

__all__ = ['app', 'copying', 'main', 'reading', 'storing', 'upkeep']
