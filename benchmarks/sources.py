"""The vectors and documents that the benchmarks share: the packages of Debian, and synthetic clusters of any size."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 1000


def packages(directory: Path) -> tuple[list[dict[str, Any]], NDArray[np.float32], NDArray[np.float32]]:
    """Return the packages, embeddings of their descriptions, and embeddings of packages that are not among them."""
    vectors = np.load(directory / 'embeddings.npz')['description'].astype(np.float32)
    with gzip.open(directory / 'packages.jsonl.gz', 'rt') as file:
        rows = [json.loads(line) for line in file]
    return rows, vectors, np.load(directory / 'queries.npz')['unseen'].astype(np.float32)


def clustered(random: np.random.Generator, count: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """
    Return so many vectors around a thousand centres, and the number of the centre of each.

    Like embeddings, they differ in far fewer directions than they have numbers: each cluster is flat but for 12.
    Clusters have all sizes: the n-th has a share of about 1 / n.
    """
    centres = random.standard_normal((CLUSTERS, dim)).astype(np.float32)
    directions = random.standard_normal((CLUSTERS, 12, dim)).astype(np.float32) / dim**0.5
    weights = 1 / np.arange(1, CLUSTERS + 1)
    of = random.choice(CLUSTERS, count, p=weights / weights.sum())
    vectors = centres[of]
    vectors += 0.1 * random.standard_normal((count, dim)).astype(np.float32)
    for cluster in range(CLUSTERS):
        mine = np.flatnonzero(of == cluster)
        vectors[mine] += 2.5 * random.standard_normal((len(mine), 12)).astype(np.float32) @ directions[cluster]
    return vectors, of
