import numpy as np

from docindex.hnsw.labels import LabelTable


def table() -> LabelTable:
    """Six labels: 1 and 4 are dead, 2 and 4 have no vector in `v`."""
    labels = LabelTable()
    labels.publish(5, [1], {'v': [2, 4]})
    labels.publish(6, [4], {})
    return labels


def test_what_lives_and_what_is_dead() -> None:
    """A label belongs to a document, or it is dead, in the order of the deaths."""
    labels = table()
    assert labels.next == 6
    assert labels.dead == [1, 4]
    assert [labels.is_living(label) for label in range(6)] == [True, False, True, True, False, True]
    assert labels.living_documents().tolist() == [0, 2, 3, 5]
    assert labels.documents() == 4


def test_what_has_a_vector() -> None:
    """A field's vectors are counted among the living documents; a field nobody lacks has one for each."""
    labels = table()
    assert labels.vectors('v') == 3
    assert labels.vectors('other') == 4
    assert [labels.has_vector('v', label) for label in range(6)] == [True, True, False, True, False, True]
    assert labels.has_vector('other', 2)
    assert labels.absent('v', np.array([0, 2, 5])).tolist() == [False, True, False]
    assert labels.absent('other', np.array([2])).tolist() == [False]


def test_living_within_a_range() -> None:
    """Labels of a range are returned without the dead and those without a vector."""
    labels = table()
    assert labels.living('v', 0, 6).tolist() == [0, 3, 5]
    assert labels.living('v', 1, 4).tolist() == [3]
    assert labels.living('other', 2, 2).tolist() == []


def test_a_table_grows_past_any_size() -> None:
    """Labels far beyond those so far are marked and found."""
    labels = LabelTable()
    labels.publish(100_000, [99_999, 5], {'v': [50_000]})
    assert labels.documents() == 99_998
    assert not labels.is_living(99_999)
    assert labels.living('v', 49_999, 50_002).tolist() == [49_999, 50_001]
    assert len(labels.living('v', 0, 100_000)) == 99_997
    assert labels.is_living(10**9)


def test_nothing() -> None:
    """A new table has no labels."""
    labels = LabelTable()
    assert (labels.next, labels.documents(), labels.vectors('v')) == (0, 0, 0)
    assert labels.living('v', 0, 0).tolist() == []
