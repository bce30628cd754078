"""What the promises need: a function that opens an index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pytest

from ..index import DocumentIndex

OpenIndex = Callable[[type[Any]], DocumentIndex[Any]]


class Contract(ABC):
    """
    What backends do, one test a promise. A subclass supplies `open_index`.

    The collection of a subclass needs a name that starts with `Test`.
    """

    @pytest.fixture
    @abstractmethod
    def open_index(self) -> OpenIndex:
        """
        Return a function that opens the index of a document class, empty at first.

        Called again with the same class, after the index was closed, it opens what was kept.
        """
