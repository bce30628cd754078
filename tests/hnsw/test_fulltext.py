"""Full text: what is found and in which order, and that it follows the documents whatever happens to them."""

from __future__ import annotations

import math
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docindex import (
    BaseDoc,
    ClosedIndexError,
    Field,
    FilterError,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    SchemaError,
    SettingsError,
)
from docindex.hnsw.fieldtable import _TOKENIZE
from docindex.hnsw.fulltext import words_of
from docindex.query import TextMode
from docindex.testing.texts import Author, Page


class Note(BaseDoc):
    text: str = Field(default='', full_text=True)
    stars: int = 0


class Stemmed(BaseDoc):
    text: str = Field(default='', full_text=True, tokenizer='porter')


class Parts(BaseDoc):
    text: str = Field(default='', full_text=True, tokenizer='trigram')


class Mixed(BaseDoc):
    text: str = Field(default='', full_text=True)
    code: str = Field(default='', full_text=True, tokenizer='trigram')
    other: str = Field(default='', full_text=True)


Pages = HnswDocumentIndex[Page]
Notes = HnswDocumentIndex[Note]
PLAIN_MODES: list[TextMode] = ['any', 'all', 'phrase', 'prefix']


def found(index: HnswDocumentIndex[Any], query: Any, search_field: Any = '', **how: Any) -> list[str]:
    docs, scores = index.text_search(query, search_field, **{'limit': 1000, **how})
    assert scores.dtype == np.float32
    assert scores.shape == (len(docs),)
    assert (np.diff(scores) <= 0).all()
    return list(docs.id)


def put(index: HnswDocumentIndex[Any], *texts: str, field: str = 'text') -> None:
    """Index documents 0, 1, 2, ... with these texts."""
    index.index({'id': str(at), field: text} for at, text in enumerate(texts))


def edit(index: HnswDocumentIndex[Any], sql: str, *values: object) -> None:
    connection = sqlite3.connect(index._store._sidecar.path)
    with connection:
        assert connection.execute(sql, values).rowcount != 0
    connection.close()


@pytest.fixture
def pages(work_dir: Path) -> Iterator[HnswDocumentIndex[Page]]:
    """Six pages; the last two have no body."""
    with Pages(work_dir=work_dir) as index:
        index.index(
            [
                Page(id='engine', title='Chess engine', body='plays chess and more chess', section='games', year=1),
                Page(id='club', title='The club', body='where people play chess', section='sport', year=2),
                Page(id='motor', title='Engine of my car', body='no games here', section='cars', year=3),
                Page(id='go', title='Go', body='a board game', author=Author(id='x', about='a chess teacher'), year=4),
                Page(id='empty', title='', section='games', year=5),
                Page(id='title', title='Opening theory', section='games', author=Author(id='y', name='chess'), year=6),
            ]
        )
        yield index


@pytest.fixture
def notes(work_dir: Path) -> Iterator[HnswDocumentIndex[Note]]:
    """An empty index of notes."""
    with Notes(work_dir=work_dir) as index:
        yield index


# -- BM25 ----------------------------------------------------------------------------------------


VOCABULARY = ['chess', 'engine', 'board', 'rook', 'pawn', 'king', 'the', 'a', 'opening', 'mate']


def bm25(docs: Sequence[Page], query: Sequence[str], weights: dict[str, float]) -> dict[str, float]:
    """
    Return the scores of the documents that have one of the words, by https://www.sqlite.org/fts5.html#the_bm25_function.

    How long a document is counts over all columns of the table, whether they are searched or not.
    """
    columns = {
        doc.id: {
            'title': doc.title.split(),
            'body': (doc.body or '').split(),
            'author__about': ((doc.author.about if doc.author else None) or '').split(),
        }
        for doc in docs
    }
    lengths = {id_: sum(map(len, columns[id_].values())) for id_ in columns}
    average = sum(lengths.values()) / len(docs)
    scores: dict[str, float] = {}
    for word in query:
        having = [id_ for id_ in columns if any(word in columns[id_][name] for name in weights)]
        idf = max(1e-6, math.log((len(docs) - len(having) + 0.5) / (len(having) + 0.5))) if having else 0
        for id_ in having:
            times = sum(weight * columns[id_][name].count(word) for name, weight in weights.items())
            length = 1.2 * (1 - 0.75 + 0.75 * lengths[id_] / average)
            scores[id_] = scores.get(id_, 0) + idf * times * (1.2 + 1) / (times + length)
    return scores


def random_pages(count: int = 60) -> list[Page]:
    random = np.random.default_rng(11)

    def text(most: int) -> str:
        # Rare words and frequent ones: some are in more than half of all documents, where the formula has its floor.
        share = np.arange(1, len(VOCABULARY) + 1) ** -1.3
        return ' '.join(random.choice(VOCABULARY, int(random.integers(most)), p=share / share.sum()))

    return [
        Page(
            id=str(at),
            title=text(5),
            body=None if at % 9 == 8 else text(25),
            author=Author(id=f'a{at}', about=text(4)) if at % 2 else None,
        )
        for at in range(count)
    ]


RANDOM_PAGES = random_pages()


@pytest.fixture(scope='module')
def random_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HnswDocumentIndex[Page]]:
    """Sixty pages of random words, which no test here changes."""
    with Pages(work_dir=tmp_path_factory.mktemp('pages')) as index:
        index.index(RANDOM_PAGES)
        yield index


@given(
    st.lists(st.sampled_from([*VOCABULARY, 'nowhere']), min_size=1, max_size=5, unique=True),
    st.dictionaries(
        st.sampled_from(['title', 'body', 'author__about']), st.sampled_from([0.5, 1, 3, 10.0]), min_size=1
    ),
)
def test_scores_are_bm25(random_index: HnswDocumentIndex[Page], words: list[str], weights: dict[str, float]) -> None:
    """Scores are those of SQLite's formula, larger is better, with the weights of the fields that are searched."""
    docs, scores = random_index.text_search(' '.join(words), weights, limit=1000)
    expected = bm25(RANDOM_PAGES, words, weights)
    assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)
    assert (np.diff(scores) <= 0).all()


def test_the_fields_that_are_searched(pages: HnswDocumentIndex[Page]) -> None:
    """One field, several, several with weights, or all: only what stands in these counts."""
    assert found(pages, 'chess', 'title') == ['engine']
    assert set(found(pages, 'chess', 'body')) == {'engine', 'club'}
    assert found(pages, 'chess', 'author__about') == ['go']
    assert set(found(pages, 'chess', ['title', 'author__about'])) == {'engine', 'go'}
    assert set(found(pages, 'chess', ('body', 'title', 'body'))) == {'engine', 'club'}
    everywhere: list[Any] = ['', [], {}]
    for every in everywhere:
        assert set(found(pages, 'chess', every)) == {'engine', 'club', 'go'}


def test_weights_decide_who_comes_first(pages: HnswDocumentIndex[Page]) -> None:
    """A field with more weight lifts the documents that have the word there."""
    pages.index([Page(id='t', title='rook', body='x y'), Page(id='b', title='x y', body='rook')])
    assert found(pages, 'rook', {'title': 9, 'body': 1}) == ['t', 'b']
    assert found(pages, 'rook', {'title': 1, 'body': 9}) == ['b', 't']
    assert found(pages, 'rook', {'title': np.float32(9), 'body': np.int64(1)}) == ['t', 'b']


def test_the_limit_keeps_the_best(random_index: HnswDocumentIndex[Page]) -> None:
    """`limit` keeps the best, 10 of them by default; equal scores come in the order of indexing."""
    every = found(random_index, 'rook king')
    assert len(every) > 10
    assert found(random_index, 'rook king', limit=3) == every[:3]
    assert found(random_index, 'rook king', limit=0) == []
    assert random_index.text_search('rook king').documents.id == every[:10]


def test_equal_texts_come_as_they_were_indexed(notes: HnswDocumentIndex[Note]) -> None:
    """Documents of the same score keep the order in which they were stored."""
    put(notes, *['the same'] * 30)
    assert found(notes, 'same', limit=20) == [str(at) for at in range(20)]


def test_documents_come_back_whole(pages: HnswDocumentIndex[Page]) -> None:
    """What a text search returns is typed and equal to what was stored."""
    docs = pages.text_search('teacher').documents
    assert docs.doc_type is Page
    assert docs[0] == pages['go']
    assert docs[0].author == Author(id='x', about='a chess teacher')


# -- modes ---------------------------------------------------------------------------------------


LIKE = ['a', 'ab', 'abc', 'b', 'bc', 'x']  # some are beginnings of others


def holds(mode: str, words: list[str], text: list[str]) -> bool:
    """Return whether a text has what is searched, as `DocumentIndex.text_search` says it."""
    if mode == 'any':
        return any(word in text for word in words)
    if mode == 'all':
        return all(word in text for word in words)
    if mode == 'phrase':
        return any(text[at : at + len(words)] == words for at in range(len(text)))
    return all(word in text for word in words[:-1]) and any(word.startswith(words[-1]) for word in text)


TEXTS = [[LIKE[digit] for digit in np.random.default_rng(at).integers(6, size=at % 7).tolist()] for at in range(50)]


@pytest.fixture(scope='module')
def like_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HnswDocumentIndex[Note]]:
    """Fifty notes of words that are much like each other."""
    with Notes(work_dir=tmp_path_factory.mktemp('notes')) as index:
        put(index, *(' '.join(text) for text in TEXTS))
        yield index


@pytest.mark.parametrize('mode', PLAIN_MODES)
@given(words=st.lists(st.sampled_from(LIKE), min_size=1, max_size=4))
def test_modes_mean_what_they_say(like_index: HnswDocumentIndex[Note], mode: TextMode, words: list[str]) -> None:
    """'any', 'all', 'phrase' and 'prefix' find exactly the documents that have the words so; a word may come twice."""
    expected = {str(at) for at, text in enumerate(TEXTS) if holds(mode, words, text)}
    assert set(found(like_index, ' '.join(words), mode=mode)) == expected


@pytest.mark.parametrize('mode', PLAIN_MODES)
@pytest.mark.parametrize('sign', ['!', '"', "'", '-', '*', '(', '+', ':', '^', '{', '😀', '\0', '\u200b', ' , '])
def test_signs_between_words_mean_nothing(like_index: HnswDocumentIndex[Note], mode: TextMode, sign: str) -> None:
    """A sign beside a word, before, behind, or standing alone, changes nothing of what is found, in any mode."""
    expected = found(like_index, 'ab a', mode=mode)
    assert expected
    for query in (f'{sign} ab a', f'ab a {sign}', f'ab {sign} a', f'{sign}ab {sign}a', f'ab{sign} a{sign}'):
        assert found(like_index, query, mode=mode) == expected, query


def test_any_finds_each_word_that_a_sign_divides(notes: HnswDocumentIndex[Note]) -> None:
    """Where a sign stands between two words without spaces, mode 'any' still wants one of them only."""
    put(notes, 'chess', 'engine', 'chess engine', 'neither')
    for query in ('chess,engine', 'chess/engine', 'chess-engine', "chess'engine", 'chess\u2019engine', 'chess😀engine'):
        assert set(found(notes, query)) == {'0', '1', '2'}, query


@pytest.mark.parametrize('tokenizer', ['unicode61', 'porter'])
def test_the_words_of_a_query_are_those_of_sqlite(tokenizer: str) -> None:
    """Whatever its letters, signs and accents, a query is divided where FTS5 divides it, into words of one token."""
    random = Random(11)
    letters = [*"aZé9ßж語\u2019\u2013—…·。→\xd7€½_-'😀🤔\u200b", '\uf8ff', '\u0378']
    letters += [chr(at) for at in random.sample([*range(1, 0xD800), *range(0xE000, 0x20000)], 1500)]
    letters = [letter for letter in letters if unicodedata.category(letter)[0] != 'M']
    letters += ['a\u0301', 'o\u0308\u0323', 'x\u0330']  # accents that SQLite knows
    with closing(sqlite3.connect(':memory:')) as fts:
        fts.execute(f"CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = '{_TOKENIZE[tokenizer]}')")
        fts.execute('CREATE VIRTUAL TABLE tokens USING fts5vocab(texts, instance)')

        def tokens(text: str) -> list[str]:
            fts.execute('DELETE FROM texts')
            fts.execute('INSERT INTO texts VALUES (?)', [text])
            return [token for (token,) in fts.execute('SELECT term FROM tokens ORDER BY offset')]

        for _ in range(1000):
            text = ''.join(random.choices(letters, k=random.randint(0, 12)))
            assert [tokens(word) for word in words_of(text)] == [[token] for token in tokens(text)], ascii(text)


def test_marks_do_not_divide_a_query(notes: HnswDocumentIndex[Note]) -> None:
    """A word of Hindi or Thai, with marks that SQLite takes for spaces, is found as it stands, and not its letters."""
    put(notes, 'यह हिन्दी है', 'दीन ह', 'ภาษาไทยนี้ดี', 'นด ภ')
    for mode in PLAIN_MODES:
        assert found(notes, 'हिन्दी', mode=mode) == ['0']
        assert found(notes, 'ภาษาไทยนี้ดี', mode=mode) == ['2']
    assert found(notes, 'यह हिन', mode='prefix') == ['0']


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('chess AND engine', {'both', 'near'}),
        ('chess OR engine', {'both', 'near', 'chess', 'engine'}),
        ('chess NOT engine', {'chess'}),
        ('chess engine', {'both', 'near'}),
        ('"chess engine"', {'both'}),
        ('NEAR(chess engine, 2)', {'both', 'near'}),
        ('NEAR(chess engine, 0)', {'both'}),
        ('eng*', {'both', 'near', 'engine'}),
        ('"engine" * ', {'both', 'near', 'engine'}),
        ('^engine', {'engine'}),
        ('chess + engine', {'both'}),
        ('(chess OR engine) NOT (chess AND engine)', {'chess', 'engine'}),
        ('  chess  ', {'both', 'near', 'chess'}),
        ('', set()),
        (' \n ', set()),
    ],
)
def test_boolean_is_the_language_of_sqlite(notes: HnswDocumentIndex[Note], query: str, expected: set[str]) -> None:
    """In mode 'boolean' AND, OR, NOT, NEAR, quotes, stars and parentheses mean what they mean to FTS5."""
    texts = {'both': 'chess engine', 'near': 'chess and engine', 'chess': 'only chess', 'engine': 'engine only'}
    notes.index(Note(id=id_, text=text) for id_, text in texts.items())
    assert set(found(notes, query, mode='boolean')) == expected


MALFORMED = ['"', 'AND', 'OR', 'NOT', 'chess AND', 'OR chess', 'chess NOT', 'NEAR(chess', '*', '^', ':', '{}', '{', '(']
MALFORMED += [')', '(chess', 'chess)', '-', '-chess', '+', 'chess +', 'a,b', "it's", 'nothing:chess', '((', 'a"b', '\\']
MALFORMED += ['*id', '*reads', '* id', 'chess) OR (engine', '(' * 500 + 'chess' + ')' * 500]


@pytest.mark.parametrize('query', MALFORMED, ids=[each[:20] for each in MALFORMED])
@pytest.mark.parametrize('fields', ['', 'body'], ids=['all fields', 'one field'])
def test_a_malformed_boolean_query_is_told(pages: HnswDocumentIndex[Page], query: str, fields: str) -> None:
    """What FTS5 does not understand is a `QueryError` with the query in it, and no error of the directory."""
    with pytest.raises(QueryError) as raised:
        pages.text_search(query, fields, mode='boolean')
    assert repr(query) in str(raised.value)
    with pytest.raises(QueryError):
        pages.snippets(query, ['engine'], 'body', mode='boolean')


def test_a_boolean_query_stays_in_its_field(pages: HnswDocumentIndex[Page]) -> None:
    """Whatever a boolean query says, only the fields that were named are searched."""
    for query in ('chess OR nothing', '(chess) OR (nothing)', '"chess"', 'NOT_A_WORD OR chess'):
        assert found(pages, query, 'author__about', mode='boolean') == ['go'], query


# -- any string is a query -----------------------------------------------------------------------


STRANGE = [
    '"',
    '""',
    '"""',
    "'",
    "''",
    'AND',
    'OR',
    'NOT',
    'NEAR',
    'NEAR(',
    'AND AND',
    'a AND',
    '*',
    '**',
    '^',
    ':',
    '::',
]
STRANGE += [
    '{',
    '}',
    '{}',
    '(',
    ')',
    '()',
    '(((',
    '-',
    '--',
    '+',
    '/*',
    '*/',
    ';',
    '%',
    '_',
    '?',
    '?1',
    ':a',
    '@a',
    '$a',
]
STRANGE += [
    '\\',
    '\0',
    'a\0b',
    '\x1f',
    '\x85',
    '\u200b',
    '\ufeff',
    '\U0010ffff',
    '😀',
    '👨\u200d👩\u200d👧',
    'ﬁ',
    'İ',
    'ß',
]
STRANGE += ['', ' ', '\n\t ', 'x' * 100_000, '"' * 1001, 'title:chess', 'f_title : chess', '- title : chess', 'rank']
STRANGE += ["'; DROP TABLE fields; --", 'text_unicode61', '*id', '\ud800', 'chess \udfff', '日本語', 'Ünïcödé', 'a"b"c']


@pytest.mark.parametrize('query', STRANGE, ids=range(len(STRANGE)))
def test_no_string_is_an_error(pages: HnswDocumentIndex[Page], query: str) -> None:
    """Punctuation, quotes, keywords, control signs and what is no valid Unicode are searched, or mean nothing."""
    for mode in PLAIN_MODES:
        for fields in ('', 'body', {'title': 2, 'body': 1}):
            assert 'motor' not in found(pages, query, fields, mode=mode)
        assert pages.snippets(query, ['motor'], 'body', mode=mode) == ['']


@given(st.text(max_size=30) | st.lists(st.sampled_from([*STRANGE[:60], 'chess', ' '])).map(''.join))
def test_no_random_string_is_an_error(random_index: HnswDocumentIndex[Page], query: str) -> None:
    """The same of any text: only mode 'boolean' may refuse it, with a `QueryError`."""
    for mode in PLAIN_MODES:
        found(random_index, query, ['title', 'body'], mode=mode)
    try:
        found(random_index, query, ['title', 'body'], mode='boolean')
    except QueryError as error:
        assert 'cannot be searched' in str(error)  # noqa: PT017 (it may as well be found)


@pytest.mark.parametrize('mode', PLAIN_MODES)
def test_a_query_of_five_thousand_words(notes: HnswDocumentIndex[Note], mode: TextMode) -> None:
    """A whole text can be the query."""
    words = [f'w{at}' for at in range(5000)]
    put(notes, ' '.join(words), 'w7', 'nothing')
    assert set(found(notes, ' '.join(words), mode=mode)) == ({'0', '1'} if mode == 'any' else {'0'})
    assert notes.snippets(' '.join(words), ['0', '2'], mode=mode, words=1)[1] == ''


def test_strange_texts_are_found(notes: HnswDocumentIndex[Note]) -> None:
    """Words are found behind NUL, between quotes, beside emoji, and beside halves of surrogate pairs."""
    texts = ['before\0behind', 'a "quoted" word', 'smile😀here', 'half \ud800 here too', 'AND OR NOT', '*starred*']
    put(notes, *texts)
    assert found(notes, 'behind') == ['0']
    assert found(notes, 'QUOTED') == ['1']
    assert set(found(notes, 'here')) == {'2', '3'}
    assert found(notes, 'not', mode='all') == ['4']
    assert found(notes, 'AND OR', mode='phrase') == ['4']
    assert found(notes, 'starred') == ['5']
    assert notes.verify().is_sound


# -- tokenizers ----------------------------------------------------------------------------------


def test_unicode61_knows_neither_case_nor_accents(notes: HnswDocumentIndex[Note]) -> None:
    """By default upper and lower case are the same, and so are letters with and without accents."""
    put(notes, 'Café Ångström', 'STRASSE', 'running')
    for query in ('cafe', 'CAFÉ', 'Café', 'cafe\u0301', 'angstrom', 'ÅNGSTRÖM'):
        assert found(notes, query) == ['0'], query
    assert found(notes, 'strasse') == ['1']
    assert found(notes, 'run') == []
    assert found(notes, 'unnin') == []


def test_porter_knows_stems(work_dir: Path) -> None:
    """With 'porter' the forms of an English word are one, without case and accents too."""
    with HnswDocumentIndex[Stemmed](work_dir=work_dir) as index:
        put(index, 'she was running', 'connections', 'Café')
        for query, expected in [('run', '0'), ('RUNS', '0'), ('connected', '1'), ('connecting', '1'), ('cafes', '2')]:
            assert found(index, query) == [expected], query
        assert found(index, 'unnin') == []
        assert index.snippets('runs', ['0']) == ['she was **running**']


def test_trigram_finds_parts_of_words(work_dir: Path) -> None:
    """With 'trigram' three letters or more are found wherever they stand, without case; fewer find nothing."""
    with HnswDocumentIndex[Parts](work_dir=work_dir) as index:
        put(index, 'get_user_name()', 'UserName', 'ab')
        assert set(found(index, 'user')) == {'0', '1'}
        assert set(found(index, 'ser')) == {'0', '1'}
        assert found(index, 'r_na') == ['0']
        assert found(index, 'name()') == ['0']
        assert found(index, 'erN') == ['1']
        assert found(index, 'ab') == []
        assert found(index, 'ab name()', mode='all') == ['0']
        assert set(found(index, 'user name', mode='all')) == {'0', '1'}


def test_tokenizers_cannot_be_mixed_in_one_search(work_dir: Path) -> None:
    """Fields with different tokenizers are searched one after another; together is a `QueryError` that says so."""
    with HnswDocumentIndex[Mixed](work_dir=work_dir) as index:
        index.index(Mixed(id='0', text='some words', code='def f(x):', other='more words'))
        assert found(index, 'words', ['text', 'other']) == ['0']
        assert found(index, 'f(x)', 'code') == ['0']
        for fields in ('', ['text', 'code'], {'code': 1.0, 'other': 2}):
            with pytest.raises(QueryError, match='different tokenizers'):
                index.text_search('words', fields)
        both = index.build_query().text_search('words', 'text').text_search('def', 'code').build()
        assert index.execute_query(both).documents.id == ['0']
        assert index.verify().is_sound


def test_names_of_fields_may_be_any(work_dir: Path) -> None:
    """Fields that differ by case only, that are called like something in SQLite, or not ASCII, can be searched."""

    class Odd(BaseDoc):
        rank: str = Field(default='', full_text=True)
        rowid: str = Field(default='', full_text=True)
        label: str = Field(default='', full_text=True)
        Select: str = Field(default='', full_text=True)
        select: str = Field(default='', full_text=True)
        größe: str = Field(default='', full_text=True)
        text_unicode61: str = Field(default='', full_text=True)

    names = [name for name in Odd.model_fields if name != 'id']
    with HnswDocumentIndex[Odd](work_dir=work_dir) as index:
        index.index({'id': name, name: 'word'} for name in names)
        assert set(found(index, 'word')) == set(names)
        for name in names:
            assert found(index, 'word', name) == [name]
            assert index.snippets('word', names, name) == ['**word**' if other == name else '' for other in names]
        assert index.verify().is_sound


# -- what is asked -------------------------------------------------------------------------------


def test_a_document_is_a_query(pages: HnswDocumentIndex[Page]) -> None:
    """Of a document, of whatever class, the text in the field is searched; in a list of one field, too."""
    like = Page(title='engine', body='chess', author=Author(about='teacher'))
    assert set(found(pages, like, 'title')) == {'engine', 'motor'}
    assert set(found(pages, like, ['body'])) == {'engine', 'club'}
    assert found(pages, like, 'author__about') == ['go']
    with pytest.raises(QueryError):
        pages.text_search(Page(), 'body')
    with pytest.raises(QueryError):
        pages.text_search(Page(), 'author__about')


def test_the_only_field_need_not_be_named_for_a_document(notes: HnswDocumentIndex[Note]) -> None:
    """A document is a query, too, where the field is left out because there is one."""
    put(notes, 'chess', 'go')
    assert found(notes, Note(text='chess')) == ['0']
    assert notes.text_search_batched([Note(text='go'), Note(text='chess')]).documents[0].id == ['1']


def test_paths_urls_and_enums_are_text(work_dir: Path) -> None:
    """Every field that is a string to filters can have full text, and a document with it can be a query."""

    class File(BaseDoc):
        path: Path = Field(default=Path('/'), full_text=True)
        kind: Literal['source code', 'picture'] = Field(default='picture', full_text=True)

    with HnswDocumentIndex[File](work_dir=work_dir) as index:
        index.index([File(id='a', path=Path('/src/chess.py'), kind='source code'), File(id='b', path=Path('/img/x'))])
        assert found(index, 'chess', 'path') == ['a']
        assert found(index, 'code', 'kind') == ['a']
        assert found(index, index['b'], 'kind') == ['b']
        assert found(index, index['a'], 'path') == ['a']


@pytest.mark.parametrize(
    ('arguments', 'word'),
    [
        ({'query': 3}, 'string'),
        ({'query': None}, 'string'),
        ({'query': b'chess'}, 'string'),
        ({'query': ['chess']}, 'string'),
        ({'search_field': 'section'}, 'author__about'),
        ({'search_field': 'smell'}, 'smell'),
        ({'search_field': 'id'}, 'id'),
        ({'search_field': 'author'}, 'author'),
        ({'search_field': ['title', 'smell']}, 'smell'),
        ({'search_field': None}, ''),
        ({'search_field': 3}, ''),
        ({'search_field': {'title': 0}}, 'title'),
        ({'search_field': {'title': -1.0}}, 'title'),
        ({'search_field': {'title': math.nan}}, 'title'),
        ({'search_field': {'title': math.inf}}, 'title'),
        ({'search_field': {'title': 10**400}}, 'title'),
        ({'search_field': {'title': True}}, 'title'),
        ({'search_field': {'title': 'much'}}, 'title'),
        ({'mode': 'some'}, 'any, all, phrase, prefix, boolean'),
        ({'mode': None}, 'mode'),
        ({'limit': -1}, 'limit'),
        ({'limit': 1.5}, 'limit'),
    ],
    ids=str,
)
def test_a_bad_text_search_is_told(pages: HnswDocumentIndex[Page], arguments: dict[str, Any], word: str) -> None:
    """A query, field, weight, mode or number that makes no sense is a `QueryError`, also where nothing is stored."""
    for _ in range(2):
        with pytest.raises(QueryError) as raised:
            pages.text_search(**{'query': 'chess', **arguments})
        assert word in str(raised.value)
        pages.delete(pages)


def test_an_index_without_full_text_says_so(work_dir: Path) -> None:
    """Where no field has full text the error says how one gets it."""

    class Plain(BaseDoc):
        text: str = ''

    with HnswDocumentIndex[Plain](work_dir=work_dir) as index:
        for call in (index.text_search, lambda query: index.snippets(query, [])):
            with pytest.raises(QueryError, match='full_text=True'):
                call('chess')


def test_an_empty_index_finds_no_text(notes: HnswDocumentIndex[Note]) -> None:
    """Before a document is stored nothing is found, whatever the mode."""
    for mode in (*PLAIN_MODES, 'boolean'):
        assert found(notes, 'chess', mode=mode) == []


def test_text_search_batched_answers_each(pages: HnswDocumentIndex[Page]) -> None:
    """Several queries are answered in order, each as `text_search` does, with a list of scores each."""
    queries = ['chess', 'nowhere', 'engine car']
    docs, scores = pages.text_search_batched(iter(queries), ['title', 'body'], 2, filter={'year': {'$lt': 4}})
    for query, some, their_scores in zip(queries, docs, scores, strict=True):
        expected = pages.text_search(query, ['title', 'body'], 2, filter={'year': {'$lt': 4}})
        assert some.id == expected.documents.id
        np.testing.assert_array_equal(their_scores, expected.scores)
    assert [len(some) for some in docs] == [2, 0, 2]
    assert pages.text_search_batched([]).documents == []
    assert [some.id for some in pages.text_search_batched(['chess engine'], mode='all').documents] == [['engine']]
    with pytest.raises(QueryError, match='use text_search'):
        pages.text_search_batched('chess')
    with pytest.raises(QueryError):
        pages.text_search_batched(['chess', 3])


# -- with filters --------------------------------------------------------------------------------


FILTERS: list[tuple[dict[str, Any], Callable[[Page], bool]]] = [
    ({'year': {'$lt': 3}}, lambda doc: doc.year < 3),
    ({'section': 'games'}, lambda doc: doc.section == 'games'),
    ({'year': {'$gte': 0}}, lambda doc: True),
    ({'$or': [{'year': 2}, {'section': 'games'}]}, lambda doc: doc.year == 2 or doc.section == 'games'),
    ({'id': {'$in': ['club', 'go']}}, lambda doc: doc.id in ('club', 'go')),
    ({'title': 'The club'}, lambda doc: doc.title == 'The club'),
    ({'title': {'$startswith': 'C'}}, lambda doc: doc.title.startswith('C')),
    ({'body': {'$contains': 'more'}}, lambda doc: 'more' in (doc.body or '')),
    ({'$not': {'body': {'$regex': 'more'}}}, lambda doc: 'more' not in (doc.body or '')),
    ({'author': {'$exists': True}}, lambda doc: doc.author is not None),
    ({'author__about': {'$exists': False}}, lambda doc: doc.author is None or doc.author.about is None),
    ({'year': 77}, lambda doc: False),
]


@pytest.mark.parametrize(('condition', 'matches'), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_filters_apply(
    pages: HnswDocumentIndex[Page], condition: dict[str, Any], matches: Callable[[Page], bool]
) -> None:
    """Only what matches is found, with the scores it has without a filter; also by the text that is searched itself."""
    docs, scores = pages.text_search('chess engine')
    expected = [(doc.id, score) for doc, score in zip(docs, scores.tolist(), strict=True) if matches(doc)]
    some, some_scores = pages.text_search('chess engine', filter=condition)
    assert list(zip(some.id, some_scores.tolist(), strict=True)) == expected
    query = pages.build_query().text_search('chess engine').filter(condition).limit(1).build()
    assert pages.execute_query(query).documents.id == [id_ for id_, _ in expected[:1]]


def test_wide_filters_apply(random_index: HnswDocumentIndex[Page]) -> None:
    """A filter with thousands of values is one like another."""
    some = [str(at) for at in range(0, 60, 2)]
    expected = [id_ for id_ in found(random_index, 'rook king') if id_ in some]
    many = [*some, *(f'nobody {at}' for at in range(5000))]
    assert found(random_index, 'rook king', filter={'id': {'$in': many}}) == expected
    assert found(random_index, 'rook king', filter={'$or': [{'id': id_} for id_ in many[:900]]}) == expected
    assert found(random_index, 'rook king', limit=3, filter={'id': {'$in': many}}) == expected[:3]


def test_a_bad_filter_is_told(pages: HnswDocumentIndex[Page]) -> None:
    """A filter that does not fit is a `FilterError`, as in any search."""
    with pytest.raises(FilterError, match='smell'):
        pages.text_search('chess', filter={'smell': 1})


# -- snippets ------------------------------------------------------------------------------------


def test_snippets_mark_what_fits(pages: HnswDocumentIndex[Page]) -> None:
    """Each document's text comes with the words marked that were searched; '' where there is none of them."""
    docs = pages.text_search('chess', 'body').documents
    marked = {'engine': 'plays **chess** and more **chess**', 'club': 'where people play **chess**'}
    assert pages.snippets('chess', docs, 'body') == [marked[id_] for id_ in docs.id]
    asked = ['club', 'motor', 'nobody', 'title', 'engine', 'club']
    assert pages.snippets('chess', asked, 'body') == [marked.get(id_, '') for id_ in asked]
    assert pages.snippets('chess', ['go', 'engine'], 'author__about') == ['a **chess** teacher', '']
    assert pages.snippets('chess', [], 'body') == []
    assert pages.snippets('', ['club'], 'body') == ['']


def test_snippets_have_the_marks_and_length_one_wants(notes: HnswDocumentIndex[Note]) -> None:
    """`before` and `after` stand around each match, whatever signs they are; a snippet has at most `words` words."""
    put(notes, ' '.join(f'w{at}' for at in range(200)))
    assert notes.snippets('w100', ['0'], before='<b>', after='\'"</b>', words=3)[0].count('<b>w100\'"</b>') == 1
    for words in (1, 5, 64):
        (snippet,) = notes.snippets('w100', ['0'], words=words, before='', after='')
        assert len(snippet.replace('…', ' ').split()) == words
    assert notes.snippets('w199', ['0'], words=2) == ['…w198 **w199**']
    assert notes.snippets('w0', ['0'], words=2) == ['**w0** w1…']


def test_snippets_follow_the_mode(notes: HnswDocumentIndex[Note]) -> None:
    """What is marked is what the mode searches: a phrase as a whole, words with a beginning."""
    put(notes, 'chess engine and chess', 'engineer')
    assert notes.snippets('chess engine', ['0', '1'], mode='phrase') == ['**chess engine** and chess', '']
    assert notes.snippets('engin', ['0', '1'], mode='prefix') == ['chess **engine** and chess', '**engineer**']
    assert notes.snippets('chess NOT engineer', ['0', '1'], mode='boolean') == ['**chess** engine and **chess**', '']
    assert notes.snippets('chess engineer', ['0', '1'], mode='all') == ['', '']


def test_snippets_are_of_many_documents(notes: HnswDocumentIndex[Note]) -> None:
    """Thousands of documents can be asked about at once."""
    put(notes, *(f'note {at}' for at in range(300)))
    many = [str(at % 400) for at in range(12_000)]
    snippets = notes.snippets('note', many)
    assert snippets == [f'**note** {id_}' if int(id_) < 300 else '' for id_ in many]


@pytest.mark.parametrize(
    'arguments',
    [
        {'search_field': ''},
        {'search_field': ['title', 'body']},
        {'search_field': 'section'},
        {'search_field': 'body', 'words': 0},
        {'search_field': 'body', 'words': 65},
        {'search_field': 'body', 'words': 1.5},
        {'search_field': 'body', 'words': True},
        {'search_field': 'body', 'mode': 'some'},
        {'search_field': 'body', 'query': 3},
        {'search_field': 'body', 'docs': 'club'},
        {'search_field': 'body', 'docs': [{'id': 'club'}]},
        {'search_field': 'body', 'docs': [3]},
    ],
    ids=str,
)
def test_bad_snippets_are_told(pages: HnswDocumentIndex[Page], arguments: dict[str, Any]) -> None:
    """Snippets of several fields, of a field without full text, with wrong numbers or of no documents are refused."""
    with pytest.raises((QueryError, TypeError)) as raised:
        pages.snippets(**{'query': 'chess', 'docs': ['club'], **arguments})
    assert str(raised.value)


# -- full text follows the documents -------------------------------------------------------------


def check_follows(index: HnswDocumentIndex[Page], expected: dict[str, str]) -> None:
    """Check that each document is found by its text, by no other, and that `verify` agrees."""
    assert len(index) == len(expected)
    for word in {word for text in expected.values() for word in text.split()}:
        assert set(found(index, word)) == {id_ for id_, text in expected.items() if word in text.split()}, word
    assert index.verify().problems == []


def test_full_text_follows_every_write(work_dir: Path) -> None:
    """After storing, replacing, updating text, metadata or vectors, deleting, compacting and reopening it is right."""
    expected = {str(at): f'all w{at}' for at in range(12)}
    with Pages(work_dir=work_dir, auto_compact=False) as index:
        index.index(Page(id=id_, title=text, vector=np.array([1.0, 2.0])) for id_, text in expected.items())
        check_follows(index, expected)
        index.update('3', title='all new')
        expected['3'] = 'all new'
        index.update('4', year=7)
        index.update('5', vector=np.array([3.0, 4.0]))
        index.update('6', title='all other', vector=None)
        expected['6'] = 'all other'
        check_follows(index, expected)
        index.index([Page(id='7', body='all body'), Page(id='8', title='twice'), Page(id='8', title='all once')])
        expected |= {'7': 'all body', '8': 'all once'}
        check_follows(index, expected)
        index.update('7', author=Author(id='x', about='somebody'))
        expected['7'] = 'all body somebody'
        assert index.delete(['0', '1', 'nobody']) == 2
        del expected['0'], expected['1']
        check_follows(index, expected)
        index.compact()
        check_follows(index, expected)
        index.update('9', title='all compacted')
        index.delete('10')
        expected['9'] = 'all compacted'
        del expected['10']
        check_follows(index, expected)
    with Pages(work_dir=work_dir) as index:
        check_follows(index, expected)
        index.delete(index)
        check_follows(index, {})


def test_a_batch_sees_its_own_text(pages: HnswDocumentIndex[Page]) -> None:
    """What a batch has written is found inside of it, and nothing of that once it was undone."""

    def failing() -> None:
        with pages.batch():
            pages.index(Page(id='new', title='chess novelty'))
            pages.update('club', body='no more')
            pages.delete('go')
            assert set(found(pages, 'chess')) == {'new', 'engine'}
            assert pages.snippets('novelty', ['new'], 'title') == ['chess **novelty**']
            pages.update('new', title='another')
            assert found(pages, 'novelty') == []
            raise ZeroDivisionError

    before = found(pages, 'chess')
    with pytest.raises(ZeroDivisionError):
        failing()
    assert found(pages, 'chess') == before
    assert found(pages, 'another more') == ['engine']
    assert pages.verify().is_sound


def test_a_batch_that_ends_is_found(pages: HnswDocumentIndex[Page]) -> None:
    """Text that was written, replaced and deleted in one batch is as the last call left it."""
    with pages.batch():
        pages.index(Page(id='one', title='first'))
        pages.update('one', title='second')
        pages.index(Page(id='two', title='gone'))
        pages.delete('two')
        pages.update('club', year=9)
        pages.update('club', year=10)
    assert (found(pages, 'first'), found(pages, 'second'), found(pages, 'gone')) == ([], ['one'], [])
    assert set(found(pages, 'club')) == {'club'}
    assert pages.verify().is_sound


def test_a_refused_call_leaves_no_text(pages: HnswDocumentIndex[Page]) -> None:
    """A call that is refused for one document has stored the text of none."""
    with pytest.raises(ValueError, match='year'):
        pages.index([{'id': 'new', 'title': 'novelty'}, {'id': 'bad', 'year': 'soon'}])
    assert found(pages, 'novelty') == []


def test_a_reader_sees_text_that_is_written(pages: HnswDocumentIndex[Page]) -> None:
    """An index that is open for reading finds what was committed before each call, also after a compaction."""
    with Pages(work_dir=pages.work_dir, read_only=True) as reader:
        assert found(reader, 'novelty') == []
        pages.index(Page(id='new', title='novelty'))
        assert found(reader, 'novelty') == ['new']
        pages.delete('engine')
        pages.compact()
        assert found(reader, 'novelty') == ['new']
        assert set(found(reader, 'chess')) == {'club', 'go'}
        assert reader.snippets('novelty', ['new'], 'title') == ['**novelty**']
        assert reader.verify().is_sound


def test_a_backup_has_the_text(pages: HnswDocumentIndex[Page], tmp_path: Path) -> None:
    """A copy finds the same words."""
    pages.backup(tmp_path / 'copy')
    with Pages(work_dir=tmp_path / 'copy') as copy:
        assert found(copy, 'chess') == found(pages, 'chess')
        assert copy.verify().is_sound


def test_a_closed_index_searches_no_text(pages: HnswDocumentIndex[Page]) -> None:
    """Text search, snippets and hybrid search of a closed index are refused."""
    pages.close()
    uses: list[Callable[[], object]] = [
        lambda: pages.text_search('chess'),
        lambda: pages.text_search_batched(['chess']),
        lambda: pages.snippets('chess', ['club'], 'body'),
        lambda: pages.hybrid('chess', [1, 0]),
    ]
    for use in uses:
        with pytest.raises(ClosedIndexError):
            use()


# -- verify() ------------------------------------------------------------------------------------


DAMAGES = {
    'another text': "UPDATE fields SET f_text = 'x' WHERE label = 3",
    'another number': 'UPDATE fields SET f_stars = 9 WHERE label = 3',
    'a row less': 'DELETE FROM fields WHERE label = 3',
    'a row more': "INSERT INTO fields (label, f_text) VALUES (999, 'stray')",
    'words less': "INSERT INTO text_unicode61 (text_unicode61, rowid, f_text) VALUES ('delete', 3, 'word3 all')",
    'words more': "INSERT INTO text_unicode61 (rowid, f_text) VALUES (3, 'more')",
    'no words': "INSERT INTO text_unicode61 (text_unicode61) VALUES ('delete-all')",
    'an overwritten block': "UPDATE text_unicode61_data SET block = x'00' WHERE id = 10",
    'overwritten blocks': "UPDATE text_unicode61_data SET block = x'ff' WHERE id > 10",
    'a length less': 'DELETE FROM text_unicode61_docsize WHERE id = 3',
    'no blocks': 'DELETE FROM text_unicode61_data',
    'no table': 'DROP TABLE text_unicode61',
}


@pytest.mark.parametrize('sql', DAMAGES.values(), ids=DAMAGES)
def test_damaged_text_is_told_and_mended(notes: HnswDocumentIndex[Note], sql: str) -> None:
    """`verify` notices what filters or full text see otherwise than the documents are, and makes it anew if it may."""
    put(notes, *(f'word{at} all' for at in range(12)))
    edit(notes, sql)
    report = notes.verify()
    assert not report.is_sound
    assert report.documents == 12
    assert not notes.verify().is_sound
    mended = notes.verify(repair=True)
    assert mended.is_sound
    assert mended.problems
    assert notes.verify().problems == []
    for at in range(12):
        assert found(notes, f'word{at}') == [str(at)]
        assert notes.filter({'text': f'word{at} all', 'stars': 0}).id == [str(at)]
    notes.index(Note(id='later', text='word3 later'))
    assert found(notes, 'later') == ['later']
    assert set(found(notes, 'word3')) == {'3', 'later'}
    assert notes.verify().problems == []


# -- other schemas -------------------------------------------------------------------------------


def schema(fields: dict[str, Any]) -> Any:
    """Return a class `Doc` with these fields, each a type and what `Field` gave for it."""
    types = {name: type_ for name, (type_, _) in fields.items()}
    defaults = {name: default for name, (_, default) in fields.items()}
    return type('Doc', (BaseDoc,), {'__module__': __name__, '__annotations__': types, **defaults})


def opened(work_dir: Path, fields: dict[str, Any], **how: Any) -> HnswDocumentIndex[Any]:
    opens: Any = HnswDocumentIndex
    index: HnswDocumentIndex[Any] = opens[schema(fields)](work_dir=work_dir, **how)
    return index


PLAIN = {'text': (str, '')}
TEXT = {'text': (str, Field(default='', full_text=True))}
PORTER = {'text': (str, Field(default='', full_text=True, tokenizer='porter'))}
UNINDEXED = {'text': (str, Field(default='', index=False))}
BOTH = {'text': (str, Field(default='', full_text=True, index=True))}


@pytest.mark.parametrize(
    'after', [PLAIN, TEXT, PORTER, UNINDEXED, BOTH], ids=['plain', 'text', 'porter', 'none', 'both']
)
@pytest.mark.parametrize('before', [PLAIN, TEXT, PORTER], ids=['plain', 'text', 'porter'])
def test_settings_of_text_can_change(work_dir: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Full text is turned on, off and to another tokenizer by opening the directory with a schema that says so."""
    with opened(work_dir, before) as index:
        put(index, 'running far', 'a runner', 'gone')
        index.update('1', text='still standing')
        index.delete('2')
    for _ in range(2):
        with opened(work_dir, after) as index:
            assert index.filter({'text': {'$contains': 'stand'}}).id == ['1']
            assert index.filter({'text': {'$startswith': 'run'}}).id == ['0']
            if after in (PLAIN, UNINDEXED):
                with pytest.raises(QueryError, match='full text'):
                    index.text_search('running')
            else:
                assert found(index, 'running') == ['0']
                assert found(index, 'runs') == (['0'] if after is PORTER else [])
                assert found(index, 'gone') == []
            index.index({'id': '3', 'text': 'now'})
            index.compact()
            assert index.verify().problems == []
    with opened(work_dir, before) as index:
        assert index.filter({'text': 'now'}).id == ['3']
        assert index.verify().problems == []


def test_fields_can_come_and_go(work_dir: Path) -> None:
    """A new field has the words of its default in stored documents; the words of one that was removed are gone."""
    new = {'more': (str, Field(default='default words', full_text=True)), **TEXT}
    with opened(work_dir, TEXT) as index:
        put(index, 'chess', 'go')
    with opened(work_dir, new) as index:
        assert set(found(index, 'default')) == {'0', '1'}
        assert found(index, 'chess', ['text', 'more']) == ['0']
        index.update('1', more='own')
        assert found(index, 'own') == ['1']
        assert found(index, 'default') == ['0']
        assert index.verify().is_sound
    with opened(work_dir, {'more': new['more']}) as index:
        assert found(index, 'chess') == []
        assert found(index, 'own') == ['1']
        with pytest.raises(QueryError, match='text'):
            index.text_search('chess', 'text')
        assert index.verify().is_sound


def test_the_order_of_fields_does_not_matter(work_dir: Path) -> None:
    """A class that lists its fields in another order writes and finds each text in its own field."""
    one = {'a': TEXT['text'], 'b': TEXT['text']}
    other = {'b': TEXT['text'], 'a': TEXT['text']}
    with opened(work_dir, one) as index:
        index.index({'id': '1', 'a': 'first', 'b': 'second'})
    with opened(work_dir, other) as index:
        index.index({'id': '2', 'a': 'first', 'b': 'second'})
        assert found(index, 'first', 'a') == index.filter({'a': 'first'}).id == ['1', '2']
        assert found(index, 'first', 'b') == []
        assert index.verify().is_sound


def test_the_order_of_fields_does_not_matter_to_a_second_handle(work_dir: Path) -> None:
    """The same while the directory is open with the class in the other order."""
    one = {'a': TEXT['text'], 'b': TEXT['text']}
    other = {'b': TEXT['text'], 'a': TEXT['text']}
    with opened(work_dir, one) as index, opened(work_dir, other) as second:
        index.index({'id': '1', 'a': 'first', 'b': 'second'})
        second.index({'id': '2', 'a': 'first', 'b': 'second'})
        second.update('1', b='third')
        for handle in (index, second):
            assert handle.filter({'a': 'first'}).id == ['1', '2']
            assert found(handle, 'first', 'a') == ['1', '2']
            assert found(handle, 'first', 'b') == []
            assert handle.verify().is_sound


def test_full_text_that_is_not_there_yet_is_told(work_dir: Path) -> None:
    """A second handle or a reader whose schema wants full text that the directory has not says what to do about it."""
    with opened(work_dir, PLAIN) as index:
        put(index, 'chess')
        with pytest.raises(SettingsError, match='close that index first'):
            opened(work_dir, TEXT)
        with opened(work_dir, TEXT, read_only=True) as reader, pytest.raises(QueryError, match='open'):
            reader.text_search('chess')


def test_a_reader_with_a_new_field_is_told(work_dir: Path) -> None:
    """A reader that asks for a field the directory does not know yet gets a `QueryError`, whatever the step."""
    with opened(work_dir, TEXT) as index:
        put(index, 'chess')
    with opened(work_dir, {**TEXT, 'more': (str, 'x')}, read_only=True) as reader:
        start = reader.build_query()
        for query in (
            start.filter({'more': 'x'}),
            start.sort('more'),
            start.text_search('chess').sort('more'),
            start.group_by('more'),
        ):
            with pytest.raises(QueryError, match='more'):
                reader.execute_query(query.build())
        assert reader.text_search('chess').documents.more == ['x']


@pytest.mark.parametrize(
    'fields',
    [
        {'n': (int, Field(default=0, full_text=True))},
        {'n': (list[str], Field(default=[], full_text=True))},
        {'n': (dict[str, str], Field(default={}, full_text=True))},
        {'n': (bytes, Field(default=b'', full_text=True))},
        {'n': (NdArray, Field(dim=2, full_text=True))},
        {'n': (str | int, Field(default='', full_text=True))},
        {'n': (int, Field(default=0, tokenizer='porter'))},
        {'n': (str, Field(default='', tokenizer='porter'))},
        {'n': (str, Field(default='', full_text=False, tokenizer='porter'))},
        {'n': (Author | None, Field(default=None, full_text=True))},
        {'id': (str, Field(full_text=True))},
    ],
    ids=str,
)
def test_full_text_is_for_strings(work_dir: Path, fields: dict[str, Any]) -> None:
    """Full text on what is no string field, or a tokenizer without it, is a `SchemaError` that names the field."""
    (name,) = fields
    with pytest.raises(SchemaError, match=f'Doc.{name}'):
        opened(work_dir, fields)


@pytest.mark.parametrize(
    'settings', [{'full_text': 'yes'}, {'full_text': 1}, {'full_text': True, 'tokenizer': 'snowball'}], ids=str
)
def test_settings_of_text_are_checked(settings: dict[str, Any]) -> None:
    """A value that a setting cannot have, or an unknown tokenizer, is a `SettingsError` where it is written."""
    with pytest.raises(SettingsError, match=list(settings)[-1]):
        Field(default='', **settings)
    with pytest.raises(SettingsError, match='full_text'):
        Field(default='', fulltext=True)  # type: ignore[arg-type]
