"""Full text on Milvus: words as SQLite makes them, the same documents as the local index, what Milvus has not."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docindex import BaseDoc, Field, HnswDocumentIndex, QueryError
from docindex.milvus.index import MilvusDocumentIndex
from docindex.milvus.texts import snippet, words_of
from docindex.query import TextMode


class Note(BaseDoc):
    text: str = Field(default='', full_text=True)
    more: str | None = Field(default=None, full_text=True)


# SQLite knows Unicode 6.1, and takes what came later for letters, and what is private; Python knows 3.2 too.
_OLD = st.characters(codec='utf-8').filter(lambda sign: unicodedata.ucd_3_2_0.category(sign) not in ('Cn', 'Co'))
_TEXTS = st.text(_OLD | st.sampled_from("aAbB zé' -_.\u0301\u0308ß\u017fµΣς1²½ǖйأあ語"), max_size=12)


@pytest.fixture(scope='module')
def fts() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(':memory:')
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'unicode61 remove_diacritics 2')")
    connection.execute('CREATE VIRTUAL TABLE tokens USING fts5vocab(texts, instance)')
    yield connection
    connection.close()


@given(text=_TEXTS)
@settings(max_examples=500)
def test_words_are_those_of_sqlite(fts: sqlite3.Connection, text: str) -> None:
    """A text has the words that SQLite's unicode61 finds in it, as far as it knows the characters."""
    fts.execute('DELETE FROM texts')
    fts.execute('INSERT INTO texts VALUES (?)', [text.replace('\0', ' ')])
    tokens = [term for (term,) in fts.execute('SELECT term FROM tokens ORDER BY offset')]
    assert words_of(text) == [_same(token) for token in tokens]


def _same(token: str) -> str:
    """Return a word of SQLite's with the one letter in which it goes another way than with all the others."""
    return token.replace('ǡ', 'a')


@given(words=st.lists(st.sampled_from(['a', 'é', 'B', 'ab', '1', '語']), max_size=8), length=st.integers(1, 4))
def test_a_snippet_is_a_part_of_the_text(words: list[str], length: int) -> None:
    """A snippet without its marks stands in the text, has so many words at most, and at least one that is marked."""
    text = ' - '.join(words)
    for mode in ('any', 'prefix'):
        found = snippet(text, ['a'], mode, '[', ']', length)
        plain = found.replace('[', '').replace(']', '').strip('…')
        assert plain in text
        assert len(words_of(plain)) <= length
        assert ('[' in found) == any(word == 'a' or (mode == 'prefix' and word == 'ab') for word in words)


_WORDS = [
    'chess',
    'Chess',
    'engine',
    'engines',
    'eng',
    'café',
    'cafe',
    'naïve',
    '語',
    '日本語',
    '3.14',
    'a_b',
    '%',
    'й',
    'и',
]
_notes = st.lists(st.sampled_from(_WORDS), max_size=4).map(' '.join)


@pytest.fixture(scope='module')
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Give an index of notes on Milvus, and the same as a local one."""
    path = tmp_path_factory.mktemp('notes')
    with MilvusDocumentIndex[Note](uri=path / 'notes.db') as remote, HnswDocumentIndex[Note](work_dir=path) as local:
        yield [remote, local]


@given(
    texts=st.lists(st.tuples(_notes, st.none() | _notes), min_size=1, max_size=5),
    query=_notes,
    mode=st.sampled_from(['any', 'all', 'phrase', 'prefix']),
    fields=st.sampled_from(['', 'text', ['text', 'more'], {'more': 2.5}]),
)
@example(texts=[('chess', 'engine')], query='chess engine', mode='all', fields='')
@example(texts=[('chess', 'engine'), ('engines', None)], query='chess eng', mode='prefix', fields='')
@settings(max_examples=40)
def test_the_same_is_found_as_in_the_local_index(
    both: list[Any], texts: list[tuple[str, str | None]], query: str, mode: TextMode, fields: Any
) -> None:
    """Each mode finds the same documents on both backends, and marks the same words of them."""
    docs = [Note(id=str(at), text=text, more=more) for at, (text, more) in enumerate(texts)]
    found = []
    for index in both:
        index.delete([str(at) for at in range(5)])
        index.index(docs)
        ids = sorted(index.text_search(query, fields, mode=mode).documents.id)
        found.append((ids, index.snippets(query, ids, 'text', mode=mode)))
    assert found[0] == found[1]


@pytest.mark.parametrize('tokenizer', ['porter', 'trigram'])
def test_other_tokenizers_are_refused_when_they_are_searched(
    tmp_path: Path, tokenizer: Literal['porter', 'trigram']
) -> None:
    """A text with stems or trigrams is stored and filtered, and takes no vectors; a search for words says why not."""

    class Code(BaseDoc):
        code: str = Field(default='', full_text=True, tokenizer=tokenizer)

    with MilvusDocumentIndex[Code](uri=tmp_path / 'code.db', max_vector_fields=1) as index:
        index.index(Code(id='a', code='engines run'))
        assert index.filter({'code': {'$contains': 'engine'}}).id == ['a']
        with pytest.raises(QueryError, match=f"'code' has tokenizer='{tokenizer}', which is not there on Milvus"):
            index.text_search('engine')


def test_sqlites_language_is_refused(tmp_path: Path) -> None:
    """`mode='boolean'` is SQLite's; the error names the modes that there are."""
    with MilvusDocumentIndex[Note](uri=tmp_path / 'notes.db') as index, pytest.raises(QueryError, match="'prefix'"):
        index.text_search('a AND b', mode='boolean')
