"""
The promises about vectors that are made of texts as tests, for any backend.

    class TestMyEmbeddings(EmbeddingContract):
        @pytest.fixture
        def open_index(self): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from ..doclist import DocList
from ..document import BaseDoc
from ..embedding import Embedder
from ..errors import DocIndexError, DocumentError, EmbeddingError, QueryError, SchemaMismatchError
from ..fields import Field
from ..index import DocumentIndex
from ..tensors import Float32Array, NdArray
from .contract import Contract, OpenIndex

_LETTERS = 'abcdefgh'


def letters(texts: list[str]) -> Float32Array:
    """Return how often each of some letters is in a text: vectors that anybody can check."""
    return np.array([[text.count(letter) for letter in _LETTERS] for text in texts], np.float32)


def _other(texts: list[str]) -> Float32Array:
    return letters(texts)


class _Listening:
    """
    Does what `letters` does.

    Attributes:
        name: What directories call it.
        calls: The texts of each call.
        answer: What it does, or returns, instead.
    """

    name = 'letters'

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answer: Callable[[list[str]], Any] = letters

    def __call__(self, texts: list[str]) -> Any:
        self.calls.append(list(texts))
        return self.answer(texts)


listening = _Listening()


class Source(BaseDoc):
    """A document in a list, which need not have a vector."""

    words: str | None = None
    gist: NdArray | None = Field(default=None, dim=8, embeds='words', with_=listening)


class Author(BaseDoc):
    """A document inside another."""

    name: str = ''
    sound: NdArray | None = Field(default=None, dim=8, embeds='name', with_=listening)


class Article(BaseDoc):
    """A document that has to have a vector."""

    title: str = Field(default='', full_text=True)
    body: str | None = None
    author: Author | None = None
    look: NdArray = Field(default=None, dim=8, embeds=['title', 'body', 'author__name'], with_=listening)
    sources: DocList[Source] = DocList[Source]()


class Asked(Article):
    """The same, with a function of its own for what is searched for."""

    look: NdArray = Field(
        default=None,
        dim=8,
        embeds='title',
        with_=Embedder(letters, queries=lambda texts: letters([text.lower() for text in texts])),
    )


class ByHand(BaseDoc):
    """The same without a function."""

    title: str = Field(default='', full_text=True)
    body: str | None = None
    author: Author | None = None
    look: NdArray = Field(dim=8)
    sources: DocList[Source] = DocList[Source]()


class Elsewise(ByHand):
    """The same with another function."""

    look: NdArray = Field(default=None, dim=8, embeds=['title', 'body', 'author__name'], with_=_other)


class Shorter(ByHand):
    """The same with the function, of another text."""

    look: NdArray = Field(default=None, dim=8, embeds='title', with_=listening)


def _sources(**words: str | None) -> DocList[Source]:
    return DocList[Source](Source(id=id_, words=text) for id_, text in words.items())


def _raises(texts: list[str]) -> Any:
    raise ConnectionError('the model is away')


_BAD_ANSWERS: dict[str, Callable[[list[str]], Any]] = {
    'an exception': _raises,
    'too few': lambda texts: letters(texts)[1:],
    'too many': lambda texts: letters([*texts, 'a']),
    'too short': lambda texts: letters(texts)[:, 1:],
    'one vector': lambda texts: letters(texts)[0],
    'NaN': lambda texts: np.full((len(texts), 8), np.nan),
    'beyond float32': lambda texts: np.full((len(texts), 8), 1e39),
    'words': lambda texts: texts,
    'nothing': lambda texts: None,
    'uneven lists': lambda texts: [[1.0] * 8, *([1.0] * 7 for _ in texts)],
}
_WRITES: dict[str, Callable[[DocumentIndex[Any]], object]] = {
    'index': lambda index: index.index([Article(id='new', title='b'), Article(id='other', title='c')]),
    'index_columns': lambda index: index.index_columns(id=['new', 'other'], title=['b', 'c']),
    'index_from': lambda index: index.index_from([{'id': 'new', 'title': 'b'}, {'id': 'other', 'title': 'c'}]),
    'update a field': lambda index: index.update('first', title='new'),
    'update documents': lambda index: index.update([{'id': 'first', 'title': 'new'}]),
    'a list': lambda index: index.update('first', sources=[{'id': 'new', 'words': 'b'}]),
}


class EmbeddingContract(Contract):
    """
    What every backend does about vectors that are made of texts.

    Attributes:
        has_transactions: Whether several writes can be undone together.
    """

    has_transactions = True

    @pytest.fixture
    def index(self, open_index: OpenIndex) -> Iterator[DocumentIndex[Article]]:
        """Give an index with one document."""
        listening.answer = letters
        with open_index(Article) as index:
            index.index(Article(id='first', title='bad', body='cab', sources=_sources(source='ace')))
            listening.calls.clear()
            yield index
        listening.answer = letters

    # -- documents -----------------------------------------------------------------------------------

    def test_vectors_are_made_of_texts(self, index: DocumentIndex[Article]) -> None:
        """A document without vectors is stored with those of its texts, nested ones and those in lists too."""
        index.index({'id': 'x', 'title': 'a', 'author': {'name': 'bee'}, 'sources': [{'words': 'cc'}, {'words': 'dd'}]})
        stored = index['x']
        assert stored.look.tolist() == letters(['a\nbee'])[0].tolist()
        assert stored.look.dtype == np.float32
        assert stored.author is not None
        assert stored.author.sound is not None
        assert stored.author.sound.tolist() == letters(['bee'])[0].tolist()
        assert [source.gist.tolist() for source in stored.sources if source.gist is not None] == letters(
            ['cc', 'dd']
        ).tolist()
        assert index.find(letters(['a\nbee'])[0], 'look', limit=1).documents.id == ['x']

    def test_the_documents_of_the_user_stay_as_they_were(self, index: DocumentIndex[Article]) -> None:
        """What is stored are copies: a document whose text is changed and that is indexed again has the new vector."""
        mine = Article(id='x', title='aa', author=Author(name='b'), sources=_sources(c='c'))
        before = mine.model_copy(deep=True)
        index.index(mine)
        assert mine == before
        mine.title = 'bb'
        index.index(mine)
        assert index['x'].look.tolist() == letters(['bb\nb'])[0].tolist()

    def test_a_vector_that_is_given_is_kept(self, index: DocumentIndex[Article]) -> None:
        """A vector that a document has is stored as it is, and the function is not called for it."""
        index.index([Article(id='x', title='a', look=np.arange(8)), Article(id='y', title='b')])
        assert index['x'].look.tolist() == list(range(8))
        assert listening.calls == [['b']]

    def test_a_document_in_need_of_a_vector_has_a_text(self, index: DocumentIndex[Article]) -> None:
        """Without a vector and a text, blank ones included, a document whose vector is required is refused."""
        for title, body in [('', None), ('', ''), (' \n', '\t')]:
            with pytest.raises(DocumentError, match=r"document 1 \(id 'x'\).*'look'.*title, body, author__name"):
                index.index([Article(title='a'), Article(id='x', title=title, body=body)])
        assert listening.calls == []
        assert len(index) == 1

    def test_an_optional_vector_may_have_no_text(self, index: DocumentIndex[Article]) -> None:
        """Without a text an optional vector is None, and searches do not find the document by it."""
        index.index(Article(id='x', title='a', author=Author(name=' '), sources=_sources(s=None, a='a')))
        stored = index['x']
        assert stored.author is not None
        assert stored.author.sound is None
        assert stored.sources[0].gist is None
        assert 's' not in index.find('a', 'sources__gist', limit=10).documents.id

    def test_columns(self, index: DocumentIndex[Article]) -> None:
        """A column of vectors can be left out, or have None where they are to be made."""
        index.index_columns(id=['x', 'y'], title=['a', 'b'])
        index.index_columns(id=['z', 'w'], title=['c', 'd'], look=[None, [1] * 8])
        assert [index[id_].look.tolist() for id_ in 'xyz'] == letters(['a', 'b', 'c']).tolist()
        assert index['w'].look.tolist() == [1] * 8
        with pytest.raises(DocumentError, match='row 1'):
            index.index_columns(id=['x', 'y'], title=['a', ''])

    def test_a_load(self, index: DocumentIndex[Article]) -> None:
        """`index_from` makes vectors; with `on_error='skip'` rows without a text are listed, not stored."""
        rows = [{'id': f'{at}', 'title': 'ab' * (at % 3)} for at in range(9)]
        report = index.index_from(rows, batch_size=4, on_error='skip')
        assert [bad.row for bad in report.skipped] == [1, 4, 7]
        assert report.stored == 6
        assert index['5'].look.tolist() == letters(['abab'])[0].tolist()

    # -- updates -------------------------------------------------------------------------------------

    def test_a_changed_text_makes_its_vector_anew(self, index: DocumentIndex[Article]) -> None:
        """An update of a text makes the vector anew, one that was given by hand too, and calls the function once."""
        index.index(Article(id='x', title='a', look=np.arange(8)))
        index.update('x', title='bbb')
        assert index['x'].look.tolist() == letters(['bbb'])[0].tolist()
        assert listening.calls == [['bbb']]
        assert index.find('bbb', 'look', limit=1).documents.id == ['x']

    def test_changed_texts_of_many(self, index: DocumentIndex[Article]) -> None:
        """An update of many makes the vectors of the texts that change, in one call of the function."""
        index.index([Article(id=id_, title='a', look=np.full(8, 5)) for id_ in 'xyz'])
        index.update({'x': {'title': 'bbb'}, 'y': {'body': ''}, 'z': {'title': 'cc'}})
        assert listening.calls == [['bbb', 'cc']]
        found = [article.look.tolist() for article in index.get(['x', 'y', 'z'])]
        assert found == [letters(['bbb'])[0].tolist(), [5] * 8, letters(['cc'])[0].tolist()]

    @pytest.mark.parametrize('fields', [{'title': 'a'}, {'body': ''}, {'title': 'b', 'look': [5] * 8}])
    def test_other_updates_leave_it(self, index: DocumentIndex[Article], fields: dict[str, Any]) -> None:
        """A vector stays if its text does; and one that comes with the new text is taken."""
        index.index(Article(id='x', title='a', look=np.full(8, 5)))
        index.update('x', **fields)
        assert index['x'].look.tolist() == [5] * 8
        assert listening.calls == []

    def test_an_update_of_a_nested_text(self, index: DocumentIndex[Article]) -> None:
        """Each vector that is made of a nested text is made anew, whether the text or its document is replaced."""
        index.index(Article(id='x', title='a', author=Author(name='b')))
        for fields, text in (({'author__name': 'cc'}, 'cc'), ({'author': Author(name='dd')}, 'dd')):
            index.update('x', **fields)
            stored = index['x']
            assert stored.look.tolist() == letters(['a' + text])[0].tolist()
            assert stored.author is not None
            assert stored.author.sound is not None
            assert stored.author.sound.tolist() == letters([text])[0].tolist()

    def test_none_means_anew(self, index: DocumentIndex[Article]) -> None:
        """`update(id, look=None)` makes the vector of the text that is there."""
        index.index(Article(id='x', title='abc', look=np.full(8, 5)))
        index.update('x', look=None)
        assert index['x'].look.tolist() == letters(['abc'])[0].tolist()

    def test_a_text_that_goes(self, index: DocumentIndex[Article]) -> None:
        """With its text an optional vector goes; a required one keeps the document as it was."""
        index.index(Article(id='x', title='a', author=Author(name='b')))
        index.update('x', author__name='')
        stored = index['x']
        assert stored.author is not None
        assert stored.author.sound is None
        with pytest.raises(DocumentError, match='look'):
            index.update('x', title='')
        assert index['x'] == stored

    def test_documents_that_are_replaced(self, index: DocumentIndex[Article]) -> None:
        """Replaced documents, by `update` or `index`, have the vectors that they bring, or those of their texts."""
        index.update([Article(id='first', title='h')])
        assert index['first'].look.tolist() == letters(['h'])[0].tolist()
        index.index({'id': 'first', 'title': 'a', 'look': [3] * 8})
        assert index['first'].look.tolist() == [3] * 8

    # -- queries -------------------------------------------------------------------------------------

    def test_questions_are_asked_in_words(self, index: DocumentIndex[Article]) -> None:
        """`find` takes a text, and finds what its vector finds; in lists too."""
        index.index([Article(id=letter, title=letter * 3) for letter in _LETTERS])
        words = 'gggffe'  # 'g', 'f', 'e' are at unequal distances: which of equal ones comes is anybody's choice
        found, same = index.find(words, 'look', 3), index.find(letters([words])[0], 'look', 3)
        assert found.documents.id == same.documents.id
        assert found.documents.id[0] == 'g'
        assert np.array_equal(found.scores, same.scores)
        assert index.find('ace', 'sources__gist').documents.id == ['source']
        assert index.find_subindex('ace', 'sources', 'gist').documents.id == ['source']

    def test_several_questions(self, index: DocumentIndex[Article]) -> None:
        """`find_batched` takes texts, vectors and documents, and calls the function once for all texts."""
        index.index([Article(id=letter, title=letter * 3, look=letters([letter * 3])[0]) for letter in _LETTERS])
        found = index.find_batched(['aaa', letters(['bbb'])[0], 'ccc'], 'look', 1)
        assert [docs.id[0] for docs in found.documents] == ['a', 'b', 'c']
        assert listening.calls == [['aaa', 'ccc']]

    def test_a_query_of_several_steps(self, index: DocumentIndex[Article]) -> None:
        """Texts are asked in the steps of a query, and in `hybrid`, where the words need no vector beside them."""
        index.index([Article(id=letter, title=letter * 3) for letter in _LETTERS])
        steps = index.build_query().find('hhhhgggffe', 'look', limit=4)
        query = steps.diversify(2, query='aaa').build()
        h, a = letters(['hhhhgggffe', 'aaa'])
        same = index.build_query().find(h, 'look', limit=4).diversify(2, query=a).build()
        assert index.execute_query(query).documents.id == index.execute_query(same).documents.id
        assert index.execute_query(steps.diversify(2).build()).documents.id[0] == 'h'
        assert index.count(query) == 2
        assert index.hybrid('ddd', search_field='look', limit=1).documents.id == ['d']
        assert index.hybrid('ddd', 'eee', 'look', limit=8, weights=[1, 0]).documents.id[0] == 'e'
        assert 'look' in str(index.explain('ddd', 'look'))

    def test_a_document_asks_with_its_text(self, index: DocumentIndex[Article]) -> None:
        """A document without a vector is searched for by its text; one with a vector by that."""
        index.index([Article(id=letter, title=letter * 3) for letter in _LETTERS])
        assert index.find(Article(title='eee'), 'look').documents.id[0] == 'e'
        assert index.find({'title': 'eee'}, 'look').documents.id[0] == 'e'
        assert index.find(Article(title='eee', look=letters(['fff'])[0]), 'look').documents.id[0] == 'f'
        with pytest.raises(QueryError, match='look'):
            index.find(Article(), 'look')

    def test_questions_have_a_function_of_their_own(self, open_index: OpenIndex) -> None:
        """`Embedder(queries=...)` makes the vectors of texts that are searched for, and of nothing else."""
        with open_index(Asked) as index:
            index.index(Asked(id='x', title='aB'))
            assert index['x'].look.tolist() == letters(['aB'])[0].tolist()
            assert index.find('BBB', 'look').scores.tolist() == [10.0]
            assert index.find(Asked(title='aB'), 'look').scores.tolist() == [0.0]

    @pytest.mark.parametrize('query', ['', '  '])
    def test_an_empty_question_is_refused(self, index: DocumentIndex[Article], query: str) -> None:
        """A blank text asks nothing."""
        with pytest.raises(QueryError, match='empty'):
            index.find(query, 'look')

    # -- functions that fail, and other functions -------------------------------------------------------

    @pytest.mark.parametrize('write', _WRITES.values(), ids=_WRITES)
    @pytest.mark.parametrize('answer', _BAD_ANSWERS.values(), ids=_BAD_ANSWERS)
    def test_a_function_that_fails(
        self, index: DocumentIndex[Article], answer: Callable[[list[str]], Any], write: Callable[[Any], object]
    ) -> None:
        """If the function raises, or returns no vector for each text, nothing is stored; the error names it."""
        before = index['first']
        listening.answer = answer
        with pytest.raises(EmbeddingError, match=r"field '(look|sources__gist)': the function 'letters'") as raised:
            write(index)
        assert raised.value.function == 'letters'
        assert isinstance(raised.value, DocIndexError)
        assert list(index) == ['first']
        assert index['first'] == before

    @pytest.mark.parametrize('answer', _BAD_ANSWERS.values(), ids=_BAD_ANSWERS)
    def test_a_function_that_fails_in_a_transaction(
        self, index: DocumentIndex[Article], answer: Callable[[list[str]], Any]
    ) -> None:
        """What was stored before in the same transaction is undone with it."""
        if not self.has_transactions:
            pytest.skip('this backend has no transactions')
        listening.answer = answer

        def write() -> None:
            with index._transaction():
                index.index(Article(id='new', title='b', look=np.ones(8)))
                index.index(Article(id='other', title='c'))

        with pytest.raises(EmbeddingError):
            write()
        assert list(index) == ['first']

    def test_a_question_whose_function_fails(self, index: DocumentIndex[Article]) -> None:
        """If the function raises for a question, the error says so, with the exception as its cause."""
        listening.answer = _raises
        with pytest.raises(EmbeddingError, match='ConnectionError: the model is away') as raised:
            index.find('a', 'look')
        assert isinstance(raised.value.__cause__, ConnectionError)

    @pytest.mark.parametrize(
        ('doc_type', 'said'),
        [
            (Elsewise, ["'letters'", "'_other'", 'Embedder(function, name=']),
            (Shorter, ["'title'", "'body'", 'embeds=']),
        ],
    )
    def test_another_function_is_refused(
        self, index: DocumentIndex[Article], open_index: OpenIndex, doc_type: type[BaseModel], said: list[str]
    ) -> None:
        """A directory whose vectors another function made, or of another text, is not opened; and says what to do."""
        index.close()
        with pytest.raises(SchemaMismatchError) as raised:
            open_index(doc_type)
        assert all(word in str(raised.value) for word in said)
        with open_index(Article) as again:
            assert again.find('bad', 'look').documents.id == ['first']

    def test_without_the_function(self, index: DocumentIndex[Article], open_index: OpenIndex) -> None:
        """Opened without the function, vectors find as ever; a text, or an update of one, says what is missing."""
        index.close()
        with open_index(ByHand) as plain:
            assert plain.find(letters(['bad'])[0], 'look').documents.id == ['first']
            for call in (lambda: plain.find('bad', 'look'), lambda: plain.update('first', body='dad')):
                with pytest.raises(QueryError, match=r"'letters'.*Field\(embeds="):
                    call()
            plain.update('first', body='dad', look=[1] * 8)
            with pytest.raises(DocumentError):
                plain.index({'id': 'x', 'title': 'a'})
        with open_index(Article) as again:
            assert again['first'].look.tolist() == [1] * 8
