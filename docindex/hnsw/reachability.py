"""
Whether a search finds every vector by itself.

hnswlib links a new vector to its neighbours from both sides, and each of these may drop the link again for a better
one; so now and then hardly anybody is linked to a vector any more, and searches do not get there. And in l2 all that
comes is linked to one vector in the middle of all others, if there is one, and that links back to a few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..distances import Labels
from ..errors import CorruptIndexError
from .graph import MOST_STRAYS, ShortAnswerError
from .search import FieldSearch

_NEIGHBOURS = 10
# Between two ways of computing one float32 distance; measured on 384-d vectors: below 1e-6 of their length.
_TOLERANCE = 1e-5
_LOOKED_AT, _LOOKED_AT_AGAIN = 8, 512
_THOROUGH = 10  # times the usual `ef`
# Of what is missed, thorough searches miss 0.97 or more where nothing leads there. Where it is a matter of `ef`, they
# miss 0.1, up to 0.8 with M=4.
_ALL_HIDDEN = 0.9
_MUCH_HIDDEN = 0.01


class Answer(NamedTuple):
    """What became of asking a graph for vectors by themselves: the labels it missed, and how many it had wrong."""

    missed: Labels
    wrong: int


def ask_all(search: FieldSearch, advance: Callable[[int], object] = lambda done: None) -> Answer:
    """
    Search for every vector in a graph by itself, with the usual `ef`.

    Strays count as found: searches look at those in any case.
    """
    missed, wrong = [np.empty(0, np.int64)], 0
    graph = search.graph
    if graph is not None:
        for labels in search.batches(graph.covered):
            answer = ask(search, labels)
            missed.append(answer.missed[~np.isin(answer.missed, graph.strays)])
            wrong += answer.wrong
            advance(len(labels))
    return Answer(np.concatenate(missed), wrong)


def ask(search: FieldSearch, labels: Labels, times_ef: int = 1) -> Answer:
    """
    Search a graph for the vectors of labels (n,), which are in it, by themselves, with the usual `ef` or a multiple.

    A vector counts as found if the graph returns it, or as many equal ones as were asked for.
    """
    graph, settings = search.graph, search.settings
    if graph is None or not len(labels):
        return Answer(np.empty(0, np.int64), 0)
    vectors = search.file.rows(labels)
    k = min(_NEIGHBOURS, search.labels.vectors(search.field) - search.ahead(graph))
    try:
        found, found_distances = graph.search(vectors, k, settings.search_ef(_NEIGHBOURS) * times_ef)
    except ShortAnswerError:
        if len(labels) == 1:
            return Answer(labels, 0)
        each = [ask(search, labels[at : at + 1], times_ef) for at in range(len(labels))]
        return Answer(np.concatenate([one.missed for one in each]), sum(one.wrong for one in each))
    ready = graph.ready(vectors)  # in all that follows, what stands in the graph
    lengths = np.einsum('ij,ij->i', ready, ready, dtype=np.float64)
    # A vector of zeros has no direction, and is at a distance of 1 from everything.
    own = {'l2': 0 * lengths, 'ip': 1 - lengths, 'cosine': (lengths == 0).astype(float)}[settings.space]
    # Equal vectors are exactly 0 apart in l2, unless another machine has projected one of them; in the other spaces
    # their distance is rounded.
    slack = {
        'l2': _TOLERANCE**2 * lengths * settings.is_reduced,
        'ip': _TOLERANCE * np.maximum(1, lengths),
        'cosine': 0 * lengths + _TOLERANCE,
    }[settings.space]
    is_own = found == labels[:, None]
    # Not missed either if all that was returned is as near: the vector has that many equals.
    is_found = is_own.any(axis=1) | (found_distances[:, -1] <= own + slack)
    is_wrong = (is_own & (np.abs(found_distances - own[:, None]) > slack[:, None])).any(axis=1)
    return Answer(np.asarray(labels[~is_found], np.int64), int(is_wrong.sum()))


def hidden(search: FieldSearch, missed: Labels) -> Labels:
    """Return those of the vectors that searches miss that far more thorough ones miss, too; few: all."""
    # Where vectors lie in clusters far apart, a search may come to a wrong one and miss all of another: 2 % of
    # 1,000,000. That is a matter of `ef`; with ten times as much it found all but 51 of 861 with few links.
    return missed if len(missed) <= MOST_STRAYS else ask(search, missed, _THOROUGH).missed


def strays_among(search: FieldSearch, missed: Labels) -> Labels:
    """Return those of the vectors that searches miss that they had better compare with one by one."""
    strays = hidden(search, missed)
    return strays if len(strays) >= _ALL_HIDDEN * len(missed) else strays[:MOST_STRAYS]


def hides_many(search: FieldSearch, latest: Labels) -> bool:
    """Return whether nothing leads to many vectors, by asking for a few of the latest, and then for more of all."""
    try:
        if search.graph is None or len(ask(search, _spread(latest, _LOOKED_AT)).missed) < 2:
            return False
        some = _spread(search.labels.living(search.field, 0, search.graph.covered), _LOOKED_AT_AGAIN)
        missed = ask(search, some).missed
        return len(ask(search, missed, _THOROUGH).missed) > max(_MUCH_HIDDEN * len(some), _ALL_HIDDEN * len(missed))
    except CorruptIndexError:
        return False  # whoever searches for what is damaged will hear of it


def _spread(labels: Labels, count: int) -> Labels:
    """Return about so many of labels, from the first to the last, other ones as they become more."""
    step = max(1, len(labels) // count)
    return labels[len(labels) % step :: step]
