"""
Lets searches find the vectors that a graph misses.

They are linked anew. What is missed even so is a stray, with which searches compare one by one; and where much is, the
graph is made anew.
"""

from __future__ import annotations

import logging

import numpy as np

from .._progress import progress_bar
from ..distances import Labels
from .graph import MOST_STRAYS
from .graphs import GraphCache
from .reachability import ask, ask_all, hidden, strays_among

logger = logging.getLogger('docindex')

# To look for vectors with few links in a graph of 20,000 takes 60 ms, as long as adding 120.
_CHURN_ROWS = 100
_CHURN_SHARE = 0.25


def mend(graphs: GraphCache, field: str, missed: Labels) -> Labels:
    """Let searches find the vectors that they miss; return those that are missed even so."""
    for is_last in (False, True):
        graphs.relink(field, missed)
        missed = ask_all(graphs.search(field)).missed
        if is_last or len(hidden(graphs.search(field), missed)) <= MOST_STRAYS:
            break
        graphs.rebuild(field)
        missed = ask_all(graphs.search(field)).missed
    search = graphs.search(field)
    left = _take_as_strays(graphs, field, np.union1d(missed, ask(search, search.strays).missed))
    return left[:0] if search.is_exact else left


def mend_all(graphs: GraphCache, show_progress: bool | None) -> None:
    """Search for every vector by itself, and let searches find what they miss."""
    total = sum(graphs.search(field).labels.vectors(field) for field in graphs.fields)
    with progress_bar(total, 'checking', show_progress) as advance:
        for field in graphs.fields:
            missed = ask_all(graphs.search(field), advance).missed
            if len(missed):
                counts = len(missed), field, len(mend(graphs, field, missed))
                logger.info('%s: searches missed %d vectors of %r, and now %d', graphs.work_dir, *counts)


def mend_after_churn(graphs: GraphCache) -> None:
    """Where much has been added or replaced, search for the vectors that hardly any other is linked to."""
    for field in graphs.fields:
        graph = graphs.get(field)
        if graph is not None and graph.churn > max(_CHURN_ROWS, _CHURN_SHARE * graph.held):
            try:
                scarce = graphs.scarcely_linked(field)
            except OSError:  # a full disk, say; searches may miss one in ten thousand
                logger.exception('the graph of %r in %s could not be looked through', field, graphs.work_dir)
                continue
            graph.churn = 0
            _mend_some(graphs, field, scarce)


def _mend_some(graphs: GraphCache, field: str, labels: Labels) -> None:
    # What has been added since may lead to what was a stray.
    some = np.union1d(labels, graphs.search(field).strays)
    missed = ask(graphs.search(field), some).missed
    if len(missed):
        graphs.relink(field, missed)
        missed = ask(graphs.search(field), some).missed  # others may have lost their links by that
    _take_as_strays(graphs, field, missed)


def _take_as_strays(graphs: GraphCache, field: str, missed: Labels) -> Labels:
    """Let searches look at vectors that the graph hides; return those that it only misses."""
    strays = strays_among(graphs.search(field), missed)
    graphs.put_strays(field, strays)
    return np.setdiff1d(missed, strays)
