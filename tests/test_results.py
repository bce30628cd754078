import pickle

import numpy as np

from docindex import BaseDoc, DocList, FindResult, FindResultBatched


class Book(BaseDoc):
    title: str = ''


BOOKS = DocList[Book]([Book(id='a'), Book(id='b')])
SCORES = np.array([0, 1], np.float32)


def test_a_result_unpacks() -> None:
    """A result is documents and scores, by name and by position, as in DocArray."""
    result = FindResult(BOOKS, SCORES)
    docs, scores = result
    assert docs is result.documents is BOOKS
    assert scores is result.scores is SCORES


def test_a_batched_result_unpacks() -> None:
    """The answers to several queries are lists of documents and a matrix of scores."""
    result = FindResultBatched([BOOKS, BOOKS], np.stack([SCORES, SCORES]))
    docs, scores = result
    assert [found.id for found in docs] == [['a', 'b'], ['a', 'b']]
    assert scores.shape == (2, 2)


def test_a_result_can_be_sent_to_another_process() -> None:
    """A result can be pickled, and its documents keep their class and their columns."""
    docs, scores = pickle.loads(pickle.dumps(FindResult(BOOKS, SCORES)))
    assert docs == BOOKS
    assert docs.doc_type is Book
    assert docs.id == ['a', 'b']
    assert scores.tolist() == [0, 1]
