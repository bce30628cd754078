"""
Vectors of many dimensions in two: principal components, or UMAP.

Both give the same picture each time. Distances in it are not those of a search: principal components keep the two
directions in which the vectors differ most, and of sentence embeddings these are often less than a tenth of all
differences; UMAP keeps who is whose neighbour, and says little of how far groups are from each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Protocol

import numpy as np

from ._optional import optional
from .errors import QueryError
from .fields import Space
from .tensors import Float32Array

Float64Array = np.ndarray[Any, np.dtype[np.float64]]
Method = Literal['pca', 'umap']

_NEIGHBOURS = 15  # umap's own default
_FEWEST = 5  # its spectral start needs more vectors than it computes eigenvectors


class Plane(Protocol):
    """Where vectors stand in two dimensions."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def labels(self) -> tuple[str, str]:
        """What its axes mean."""

    def place(self, vectors: Float32Array) -> Float64Array:
        """Return the places, shape (n, 2), of vectors (n, dim)."""


def plane_of(vectors: Float32Array, space: Space, method: Method | None) -> Plane:
    """
    Return a plane on which these vectors, shape (n, dim) with n > 0, can be told from each other.

    Args:
        vectors: The vectors.
        space: With 'cosine' their lengths do not count.
        method: None: UMAP if it is installed and there are enough vectors, else principal components.

    Raises:
        QueryError: there is no such method, or there are too few vectors for UMAP.
        MissingLibraryError: umap-learn is missing.
    """
    if method not in ('pca', 'umap', None):
        raise QueryError(f"method must be 'pca', 'umap' or None for UMAP where it is installed, got {method!r}")
    is_enough = len(vectors) >= _FEWEST
    if method == 'umap' and not is_enough:
        raise QueryError(f"UMAP needs {_FEWEST} vectors, and there are {len(vectors)}; method='pca' needs none")
    if method == 'umap' or (method is None and is_enough and _is_umap_installed()):
        return _Neighbours.fitted(vectors, space)
    return _Components.fitted(vectors, space)


def _is_umap_installed() -> bool:
    # Not whether there is a module of that name: another package, and any directory called umap, would be one.
    try:
        return bool(version('umap-learn'))
    except PackageNotFoundError:
        return False


def _comparable(vectors: Float32Array, space: Space) -> Float64Array:
    """Return vectors in float64, all of length 1 if it does not count."""
    numbers = vectors.astype(np.float64)
    if space == 'cosine':
        lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
        numbers /= np.where(lengths, lengths, 1)
    return numbers


@dataclass(frozen=True)
class _Components:
    """The plane of the two directions, `axes` (dim, 2), in which the vectors differ most, through their `mean`."""

    space: Space
    mean: Float64Array
    axes: Float64Array
    labels: tuple[str, str]
    name: str = 'PCA'

    @classmethod
    def fitted(cls, vectors: Float32Array, space: Space) -> _Components:
        numbers = _comparable(vectors, space)
        mean = numbers.mean(axis=0)
        numbers -= mean
        count, dim = numbers.shape
        # The smaller of the two matrices that have the same eigenvalues; both come in ascending order.
        if dim <= count:
            values, axes = np.linalg.eigh(numbers.T @ numbers)
        else:
            values, sides = np.linalg.eigh(numbers @ numbers.T)
            axes = numbers.T @ sides / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))
        axes = np.hstack([np.zeros((dim, 2)), axes])[:, :-3:-1]  # one vector, or one dimension, has fewer than two
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.where(axes[largest, [0, 1]] < 0, -1, 1)  # either sign would do: always the same one
        every = max(float(values.clip(0).sum()), np.finfo(np.float64).tiny)
        shares = [*(values.clip(0)[::-1] / every), 0.0][:2]
        first, second = (f'{100 * share:.2g} % of the variance' for share in shares)
        return cls(space, mean, axes, (first, second))

    def place(self, vectors: Float32Array) -> Float64Array:
        places: Float64Array = (_comparable(vectors, self.space) - self.mean) @ self.axes
        return places


class _Neighbours:
    """A plane on which the vectors have the same neighbours, as far as that is possible."""

    name = 'UMAP'
    labels = ('', '')

    def __init__(self, space: Space, reducer: Any) -> None:
        self._space = space
        self._reducer = reducer

    @classmethod
    def fitted(cls, vectors: Float32Array, space: Space) -> _Neighbours:
        umap = optional('umap', None, 'plots by UMAP', 'umap-learn')
        # A seed, for which umap wants one thread; and it is told so, or it warns.
        reducer = umap.UMAP(n_neighbors=min(_NEIGHBOURS, len(vectors) - 1), random_state=0, n_jobs=1)
        reducer.fit(_comparable(vectors, space).astype(np.float32))
        return cls(space, reducer)

    def place(self, vectors: Float32Array) -> Float64Array:
        found = self._reducer.transform(_comparable(vectors, self._space).astype(np.float32))
        return np.asarray(found, np.float64)
