"""Ctrl-C at a chosen moment."""

from __future__ import annotations

import sys
from types import FrameType


class Signal:
    """
    Raises at the n-th moment at which Python looks for signals in some modules.

    That is when a function of its own begins, and when one of C has ended.
    """

    def __init__(self, at: int, *modules: str) -> None:
        self._left = at
        self._modules = modules
        self.has_come = False

    def __enter__(self) -> None:
        sys.setprofile(self._profile)

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event in ('call', 'c_return') and frame.f_globals['__name__'].startswith(self._modules):
            self._left -= 1
            if self._left < 0:
                self.has_come = True
                sys.setprofile(None)
                raise KeyboardInterrupt
