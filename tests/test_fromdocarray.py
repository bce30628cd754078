"""
Directories that DocArray 0.41 has written are imported.

They are under tests/docarray, with what DocArray returned from them; see make.py there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import field_validator

from docindex import (
    BaseDoc,
    CorruptIndexError,
    DocList,
    DocumentError,
    Field,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    SchemaError,
    WorkDirError,
    import_docarray,
)
from docindex.fromdocarray import wire
from docindex.fromdocarray.blobs import document
from docindex.fromdocarray.directory import row_of
from tests import programs
from tests.docarray.plain import plain
from tests.docarray.schemas import SCHEMAS, Book, Chapter, Flat, Page, Sentence
from tests.test_cli import program as docindex

HERE = Path(__file__).parent / 'docarray'
DATABASE = 'docs_sqlite.db'


def expected(name: str) -> dict[str, Any]:
    """Return what DocArray returned from a directory."""
    made: dict[str, Any] = json.loads((HERE / f'{name}.json').read_text())
    return made


def state(path: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content of every file below a directory, and when each was written."""
    files = (file for file in path.rglob('*') if file.is_file())
    return {str(file.relative_to(path)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def damage(path: Path, sql: str, *values: object) -> None:
    """Change the database of a DocArray directory."""
    with closing(sqlite3.connect(path / DATABASE)) as connection, connection:
        connection.execute(sql, values)


def blob(path: Path, id_: str) -> bytes:
    """Return the bytes of a document in a DocArray directory."""
    with closing(sqlite3.connect(path / DATABASE)) as connection:
        found: bytes = connection.execute('SELECT data FROM docs WHERE doc_id = ?', [row_of(id_)]).fetchone()[0]
        return found


def ids_in_order(path: Path) -> list[str]:
    """Return the ids of a DocArray directory in the order in which they are imported."""
    with closing(sqlite3.connect(path / DATABASE)) as connection:
        rows = connection.execute('SELECT data FROM docs ORDER BY doc_id')
        return [document(data)['id'] for (data,) in rows]


@pytest.fixture
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a DocArray directory, by default of the one with flat documents."""
    return Path(shutil.copytree(HERE / getattr(request, 'param', 'flat'), tmp_path / 'old'))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Where the new index goes."""
    return tmp_path / 'new'


def using(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('old', [name], indirect=True, ids=[name])


# -- what is imported ----------------------------------------------------------------------------


@pytest.mark.parametrize('name', SCHEMAS)
def test_documents_are_what_docarray_returned(name: str, new: Path) -> None:
    """Every document comes out with the values, the dtypes and the bits that DocArray returned, and no other does."""
    report = import_docarray(HERE / name, new, SCHEMAS[name])
    documents = expected(name)['documents']
    assert report.is_complete
    with HnswDocumentIndex[SCHEMAS[name]](work_dir=new) as index:
        assert len(index) == len(documents) == report.imported == report.found == report.in_index
        for doc in documents:
            assert plain(index[doc['document']['id']]) == doc
        assert index.verify().is_sound


@pytest.mark.parametrize('name', ['flat', 'cosine', 'nested', 'kinds', 'books'])
def test_searches_find_what_docarray_found(name: str, new: Path) -> None:
    """A search in the new index finds the ids that DocArray found, with the same scores, in every space."""
    import_docarray(HERE / name, new, SCHEMAS[name])
    found = expected(name)['found']
    with HnswDocumentIndex[SCHEMAS[name]](work_dir=new) as index:
        assert found
        for search_field, each in found.items():
            docs, scores = index.find(each['query'], search_field=search_field, limit=5)
            assert docs.id == each['ids']
            np.testing.assert_allclose(scores, each['scores'], rtol=1e-4, atol=1e-5)


def test_old_directory_is_not_touched(new: Path) -> None:
    """No file of DocArray's directory is changed, none is added, and none is written again."""
    before = state(HERE / 'edited_books')
    import_docarray(HERE / 'edited_books', new, Book)
    assert state(HERE / 'edited_books') == before


def test_a_write_ahead_log_leaves_no_trace(old: Path, new: Path) -> None:
    """A database that somebody has switched to a write-ahead log is read without the files that SQLite would make."""
    with closing(sqlite3.connect(old / DATABASE)) as connection:
        connection.execute('PRAGMA journal_mode = WAL')
    before = state(old)
    assert import_docarray(old, new, Flat).imported == 30
    assert state(old) == before


def test_neither_docarray_nor_protobuf_is_needed(new: Path) -> None:
    """An import works where neither DocArray nor protobuf can be imported."""
    code = (
        'import sys; sys.modules["docarray"] = sys.modules["google.protobuf"] = None\n'
        'from docindex import import_docarray; from tests.docarray.schemas import Nested\n'
        'print(import_docarray(*sys.argv[1:], Nested))'
    )
    ended = programs.run(code, HERE / 'nested', new)
    assert ended.stdout == '20 of 20 documents imported; the index holds 20\n'


# -- what DocArray has forgotten -----------------------------------------------------------------


def test_deletions_that_docarray_forgets(new: Path) -> None:
    """A document without a row is gone, whatever the graph says; one that was half deleted is there."""
    report = import_docarray(HERE / 'edited', new, Flat)
    assert report.forgotten == {'embedding.bin': 9}
    with HnswDocumentIndex[Flat](work_dir=new) as index:
        assert [f'flat-{n}' in index for n in range(10)] == [n == 3 for n in range(10)]
        assert index['flat-3'].title == 'Again'
        assert 'flat-25' in index


def test_subindexes_that_disagree(new: Path) -> None:
    """The list in a document is the truth: orphans of the subindexes stay out, what these have lost comes along."""
    report = import_docarray(HERE / 'edited_books', new, Book)
    assert report.orphans == {'chapters': 2, 'chapters__pages': 3, 'chapters__pages__sentences': 6}
    assert report.lost == {'chapters': 1, 'chapters__pages': 1, 'chapters__pages__sentences': 2}
    assert report.forgotten == {'embedding.bin': 2}
    with HnswDocumentIndex[Book](work_dir=new) as index:
        assert [chapter.id for chapter in index['book-0'].chapters] == ['chapter-0-0']
        assert [chapter.id for chapter in index['book-3'].chapters] == ['chapter-3-0', 'chapter-3-1']
        assert 'book-1' not in index


def test_only_the_graph_has_the_vectors(new: Path) -> None:
    """The report says of which field DocArray kept the vectors in float32 only."""
    assert import_docarray(HERE / 'anytensor', new, SCHEMAS['anytensor']).float32 == {'embedding': 20}
    assert import_docarray(HERE / 'changed_space', new / '2', SCHEMAS['changed_space']).float32 == {'embedding': 5}
    assert import_docarray(HERE / 'cosine', new / '3', SCHEMAS['cosine']).float32 == {}


@using('edited_books')
def test_a_subindex_that_cannot_be_read(old: Path, new: Path) -> None:
    """A damaged subindex costs its comparison, and no document."""
    (old / 'chapters' / 'pages' / DATABASE).write_bytes(b'no database' * 100)
    report = import_docarray(old, new, Book)
    assert report.is_complete
    assert report.orphans == {'chapters': 2, 'chapters__pages__sentences': 6}
    assert list(report.not_compared) == ['chapters__pages']
    assert 'the subindex chapters__pages was not compared' in str(report)


def test_files_of_others(old: Path, new: Path) -> None:
    """A file that is named like a graph but belongs to no field is nobody's business."""
    (old / 'pytorch_model.bin').write_bytes(b'weights')
    assert import_docarray(old, new, Flat).is_complete


def test_the_report_in_words(new: Path) -> None:
    """The report prints as lines, one for each thing that was met."""
    assert str(import_docarray(HERE / 'edited_books', new, Book)).splitlines() == [
        '2 of 2 documents imported; the index holds 2',
        'embedding: vectors that DocArray kept in float32 only, as it returned them: 2',
        'left out: vectors in embedding.bin whose document was deleted, or never written: 2',
        'left out: documents in the subindex chapters that are in no list any more: 2',
        'left out: documents in the subindex chapters__pages that are in no list any more: 3',
        'left out: documents in the subindex chapters__pages__sentences that are in no list any more: 6',
        'chapters: imported although missing from the subindex: 1',
        'chapters__pages: imported although missing from the subindex: 1',
        'chapters__pages__sentences: imported although missing from the subindex: 2',
    ]


# -- schemas -------------------------------------------------------------------------------------


class Untitled(BaseDoc):
    price: float
    pages: int
    embedding: NdArray[8]


class Crossed(Flat):
    pages: int = pydantic.Field(alias='price')
    price: float = pydantic.Field(alias='pages')


class Strict(Flat):
    title: str = Field(max_length=7)


class Short(BaseDoc):
    title: str
    embedding: NdArray[4]


class ForbiddingSentence(Sentence, extra='forbid'):
    pass


class LinkedPage(Page):
    sentences: DocList[ForbiddingSentence]
    parent_id: str


class LinkedChapter(Chapter):
    pages: DocList[LinkedPage]


class LinkedBook(Book):
    chapters: DocList[LinkedChapter]


def test_a_field_that_the_schema_lacks(new: Path) -> None:
    """A field that the schema does not have is left out, and the report names it."""
    report = import_docarray(HERE / 'flat', new, Untitled)
    assert report.unknown_fields == ['title']
    assert (report.imported, report.is_complete) == (30, False)
    assert 'left out: the field title, which the schema does not have' in str(report)


def test_an_alias_that_is_the_name_of_another_field(new: Path) -> None:
    """Fields keep their values where the name of one is the alias of another."""
    import_docarray(HERE / 'flat', new, Crossed)
    with HnswDocumentIndex[Crossed](work_dir=new) as index:
        assert [index['flat-7'].price, index['flat-7'].pages] == [1.0, -7_000_000]


def test_what_docarray_adds_to_children(new: Path) -> None:
    """The `parent_id` that DocArray writes into documents in lists is taken off, unless the schema has the field."""
    report = import_docarray(HERE / 'books', new, LinkedBook)
    assert report.is_complete
    with HnswDocumentIndex[LinkedBook](work_dir=new) as index:
        assert index['book-1'].chapters[0].pages[0].parent_id == 'chapter-1-0'


def test_a_document_that_does_not_fit(new: Path) -> None:
    """The first document that does not fit ends the import; the error names it, and its batch is not stored."""
    bad = next(at for at, id_ in enumerate(ids_in_order(HERE / 'flat')) if len(id_) > len('flat-1'))
    id_ = ids_in_order(HERE / 'flat')[bad]
    with pytest.raises(DocumentError) as raised:
        import_docarray(HERE / 'flat', new, Strict, batch_size=2)
    before = bad - bad % 2
    assert f"row {row_of(id_)} (id '{id_}'): title: String should have at most 7 characters" in str(raised.value)
    assert f'; {before} documents were imported before its batch' in str(raised.value)
    with HnswDocumentIndex[Strict](work_dir=new) as index:
        assert len(index) == before


def test_documents_that_do_not_fit_are_skipped(new: Path) -> None:
    """With on_error='skip' they are left out and listed, and all the others are imported."""
    report = import_docarray(HERE / 'flat', new, Strict, on_error='skip', batch_size=7)
    assert {skipped.id for skipped in report.skipped} == {f'flat-{n}' for n in range(10, 30)}
    assert (report.found, report.imported, report.in_index, report.is_complete) == (30, 10, 10, False)


def test_vectors_of_another_length(new: Path) -> None:
    """A vector of another length than the schema says names the document and both lengths."""
    with pytest.raises(DocumentError, match=r'row \d+ \(id .*\): embedding: expected a 4-d vector, got 8-d'):
        import_docarray(HERE / 'flat', new, Short)


def test_a_schema_that_cannot_be_indexed(new: Path) -> None:
    """A class that is no schema is refused as everywhere, and no directory is made."""
    with pytest.raises(SchemaError):
        import_docarray(HERE / 'flat', new, dict)  # type: ignore[arg-type]
    assert not new.exists()


# -- going on ------------------------------------------------------------------------------------


def test_an_interrupted_import_is_completed(old: Path, new: Path) -> None:
    """What was imported before an error stays; `resume` completes it, and without it the new index is refused."""
    last = ids_in_order(old)[-1]
    good = blob(old, last)
    damage(old, 'UPDATE docs SET data = ? WHERE doc_id = ?', b'\xff', row_of(last))
    with pytest.raises(CorruptIndexError, match='29 documents were imported before'):
        import_docarray(old, new, Flat, batch_size=1)
    damage(old, 'UPDATE docs SET data = ? WHERE doc_id = ?', good, row_of(last))
    with pytest.raises(WorkDirError, match='holds 29 documents already'):
        import_docarray(old, new, Flat)
    report = import_docarray(old, new, Flat, resume=True)
    assert (report.imported, report.in_index, report.is_complete) == (30, 30, True)
    with HnswDocumentIndex[Flat](work_dir=new) as index:
        assert [plain(index[doc['document']['id']]) for doc in expected('flat')['documents']] == (
            expected('flat')['documents']
        )


def test_other_documents_stay(new: Path) -> None:
    """`resume` leaves documents with other ids as they are, and the report counts them."""
    with HnswDocumentIndex[Flat](work_dir=new) as index:
        index.index(Flat(id='mine', title='Mine', price=1, pages=1, embedding=np.ones(8)))
    report = import_docarray(HERE / 'flat', new, Flat, resume=True)
    assert (report.imported, report.in_index) == (30, 31)


def test_docarray_writes_meanwhile(old: Path, new: Path) -> None:
    """An import during which DocArray writes to the directory ends with an error."""

    class Meddling(Flat):
        @field_validator('title')
        @classmethod
        def meddle(cls, title: str) -> str:
            with (old / 'embedding.bin').open('ab') as file:
                file.write(b'more')
            return title

    with pytest.raises(WorkDirError, match='DocArray has written to this directory while it was read'):
        import_docarray(old, new, Meddling)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['-journal', '-wal'])
def test_a_write_that_has_not_ended(old: Path, new: Path, suffix: str) -> None:
    """A journal beside the database means that it is not whole, so it is not read."""
    (old / f'{DATABASE}{suffix}').write_bytes(b'something')
    with pytest.raises(WorkDirError, match='a write has not ended'):
        import_docarray(old, new, Flat)
    assert not new.exists()


def test_no_docarray_directory(tmp_path: Path, new: Path) -> None:
    """A directory without DocArray's database is refused, as is a database that is none or has no documents."""
    with pytest.raises(WorkDirError, match='no work directory of DocArray'):
        import_docarray(tmp_path, new, Flat)
    (tmp_path / DATABASE).write_bytes(b'no database, but as long as one' * 100)
    with pytest.raises(WorkDirError, match='file is not a database'):
        import_docarray(tmp_path, new, Flat)
    (tmp_path / DATABASE).write_bytes(b'')
    with pytest.raises(WorkDirError, match='no such table: docs'):
        import_docarray(tmp_path, new, Flat)
    assert not new.exists()


@pytest.mark.parametrize('inside', ['.', 'new'])
def test_the_new_index_is_not_inside_the_old(old: Path, inside: str) -> None:
    """Nothing is written into DocArray's directory, not even when asked."""
    before = state(old)
    with pytest.raises(WorkDirError, match="cannot be inside DocArray's directory"):
        import_docarray(old, old / inside, Flat)
    assert state(old) == before


@pytest.mark.parametrize('arguments', [{'on_error': 'ignore'}, {'batch_size': 0}, {'batch_size': 'many'}], ids=str)
def test_arguments_that_make_no_sense(new: Path, arguments: dict[str, Any]) -> None:
    """A wrong argument is refused before anything is made."""
    with pytest.raises(QueryError, match=next(iter(arguments))):
        import_docarray(HERE / 'flat', new, Flat, **arguments)
    assert not new.exists()


# -- damage --------------------------------------------------------------------------------------


def test_a_damaged_document(old: Path, new: Path) -> None:
    """A document that cannot be read is named by its row, or skipped."""
    row = row_of('flat-7')
    damage(old, 'UPDATE docs SET data = substr(data, 1, length(data) - 1) WHERE doc_id = ?', row)
    with pytest.raises(CorruptIndexError, match=rf'row {row}: a field of .* bytes, where .* are left.*{DATABASE}'):
        import_docarray(old, new, Flat)
    report = import_docarray(old, new, Flat, on_error='skip', resume=True)
    assert [skipped.row for skipped in report.skipped] == [row]
    assert (report.found, report.imported) == (30, 29)


def test_a_damaged_name_of_a_table(old: Path, new: Path) -> None:
    """Where SQLite quotes what is no text in its complaint, that is an error that names the file as well."""
    content = (old / DATABASE).read_bytes()
    at = content.index(b'tabledocs')
    (old / DATABASE).write_bytes(
        content[: at + 5] + b'\xff' * 4 + content[at + 9 :].replace(b'CREATE TABLE', b'CREATE TABL?', 1)
    )
    with pytest.raises(WorkDirError, match=DATABASE):
        import_docarray(old, new, Flat)


@pytest.mark.parametrize('value', [None, 5, 'text', b'', 1.5], ids=repr)
def test_a_row_without_a_document(old: Path, new: Path, value: object) -> None:
    """A row that holds anything but its own document is damaged."""
    damage(old, 'UPDATE docs SET data = ? WHERE doc_id = ?', value, row_of('flat-7'))
    with pytest.raises(CorruptIndexError, match=f'row {row_of("flat-7")}: '):
        import_docarray(old, new, Flat)


def test_documents_in_each_others_rows(old: Path, new: Path) -> None:
    """A document in the row of another one is damage too."""
    damage(old, 'UPDATE docs SET data = ? WHERE doc_id = ?', blob(old, 'flat-8'), row_of('flat-7'))
    report = import_docarray(old, new, Flat, on_error='skip')
    assert [str(skipped) for skipped in report.skipped] == [
        f"row {row_of('flat-7')}: the document has the id 'flat-8', which belongs into another row"
    ]


def test_a_vector_that_is_nowhere(old: Path, new: Path) -> None:
    """A document whose vector is neither in its row nor in the graph is named."""
    shutil.copy(HERE / 'anytensor' / 'embedding.bin', old)
    with pytest.raises(CorruptIndexError, match=r"\(id 'flat-\d+'\): its vector is neither .* nor in embedding.bin"):
        import_docarray(old, new, Flat)


def test_a_vector_that_is_not_finite(old: Path, new: Path) -> None:
    """NaN, which DocArray stores, is refused; the error names the document, and the others can be imported."""
    content = bytearray((old / 'embedding.bin').read_bytes())
    offset = 96 + struct.unpack_from('<Q', content, 40)[0]
    struct.pack_into('<f', content, offset, float('nan'))
    (old / 'embedding.bin').write_bytes(content)
    with pytest.raises(DocumentError, match=r"row \d+ \(id 'flat-0'\): .*'embedding' has NaN at position 0"):
        import_docarray(old, new, Flat)
    report = import_docarray(old, new, Flat, on_error='skip', resume=True, batch_size=4)
    assert [skipped.id for skipped in report.skipped] == ['flat-0']
    assert report.in_index == 29


@pytest.mark.parametrize('size', [0, 40, 200, -1])
def test_a_graph_file_that_ends_too_early(old: Path, new: Path, size: int) -> None:
    """A graph file that was cut off is named, before anything is imported."""
    content = (old / 'embedding.bin').read_bytes()
    end = 96 + struct.unpack_from('<Q', content, 16)[0] * struct.unpack_from('<Q', content, 24)[0]
    (old / 'embedding.bin').write_bytes(content[: size if size >= 0 else end - 1])
    with pytest.raises(CorruptIndexError, match=r'embedding\.bin'):
        import_docarray(old, new, Flat)
    assert not new.exists()


@pytest.mark.parametrize('at', [0, 16, 24, 32, 40])
@pytest.mark.parametrize('number', [2000, 2**40, 2**64 - 1])
def test_a_header_that_lies(old: Path, new: Path, at: int, number: int) -> None:
    """A graph file whose header does not fit the file, or itself, is named."""
    content = bytearray((old / 'embedding.bin').read_bytes())
    struct.pack_into('<Q', content, at, number)
    (old / 'embedding.bin').write_bytes(content)
    with pytest.raises(CorruptIndexError, match=r'damaged, or not one of hnswlib .*embedding\.bin'):
        import_docarray(old, new, Flat)


def examples() -> Iterator[bytes]:
    for name in ('kinds', 'nested', 'books'):
        with closing(sqlite3.connect(HERE / name / DATABASE)) as connection:
            yield connection.execute('SELECT data FROM docs').fetchone()[0]


@given(st.sampled_from(list(examples())), st.data())
def test_any_damage_is_noticed_or_harmless(example: bytes, data: st.DataObject) -> None:
    """Whatever happens to the bytes of a document, reading them gives a dict or says what is wrong."""
    content = bytearray(example)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(wire.WireError):  # and nothing else is raised
        values = document(bytes(content[: data.draw(st.integers(0, len(content)))]))
        assert all(isinstance(name, str) for name in values)


def message(number: int, content: bytes) -> bytes:
    """Return a field that holds bytes, shorter than 16 KB."""
    size = len(content)
    length = [size] if size < 128 else [size & 127 | 128, size >> 7]
    return bytes([number << 3 | wire.BYTES, *length]) + content


def node(content: bytes) -> bytes:
    """Return a document with one field, 'x'."""
    return message(1, message(1, b'x') + message(2, content))


def tensor(buffer: bytes, shape: bytes, dtype: bytes) -> bytes:
    return node(message(6, message(1, message(1, buffer) + message(2, shape) + message(3, dtype))))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'\x80', 'a number does not end'),
        (b'\x80' * 11, 'a number does not end'),
        (b'\x0b', 'in the way 3'),
        (b'\x08\x01', 'a number where bytes are expected'),
        (node(b'\x08\x01'), 'a value of kind 1 is written in the way 0'),
        (node(message(1, b'\xff')), 'not UTF-8'),
        (node(message(10, message(1, message(9, b'')))), 'a set of what cannot be in one'),
        (node(message(6, b'')), 'a tensor without content'),
        (tensor(bytes(8), b'\x01', b'|O'), "a tensor of '|O', which are no numbers"),
        (tensor(bytes(8), b'\x01', b'<f3'), "a tensor of '<f3', which are no numbers"),
        (tensor(bytes(8), b'\x02', b'<f8'), r'shape \(2,\) and dtype <f8, in 8 bytes'),
        (tensor(b'', b'\xff\xff\xff\x7f\xff\xff\xff\x7f', b'<f8'), 'in 0 bytes'),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bytes_that_are_no_document(content: bytes, reason: str) -> None:
    """What is wrong with the bytes of a document is said in words; no array of objects is made of them."""
    with pytest.raises(wire.WireError, match=reason):
        document(content)


def test_documents_without_end() -> None:
    """Documents nested a thousand deep are refused, and do not end the process."""
    nested = b''
    for _ in range(1000):
        nested = node(message(7, nested))
    with pytest.raises(wire.WireError, match='without end'):
        document(nested)


# -- the command line ----------------------------------------------------------------------------


def test_the_command(new: Path) -> None:
    """`docindex import-docarray` prints the report, and exits with 0 when all was imported."""
    ended = docindex('import-docarray', HERE / 'cosine', new, '--schema', 'tests.docarray.schemas:Cosine')
    assert (ended.returncode, ended.stdout) == (0, '20 of 20 documents imported; the index holds 20\n')
    again = docindex('import-docarray', HERE / 'cosine', new, '--schema', 'tests.docarray.schemas:Cosine')
    assert (again.returncode, again.stdout) == (2, '')
    assert again.stderr.startswith('docindex: this index holds 20 documents already')
    resumed = docindex('import-docarray', '--resume', HERE / 'cosine', new, '--schema', 'tests.docarray.schemas:Cosine')
    assert resumed.returncode == 0


def test_the_command_meets_damage(old: Path, new: Path) -> None:
    """Damage is one line and exit code 1; with --skip-errors the rest is imported, and the exit code is 1 as well."""
    damage(old, 'UPDATE docs SET data = NULL WHERE doc_id = ?', row_of('flat-7'))
    command = ['import-docarray', old, new, '--schema', 'tests.docarray.schemas:Flat']
    ended = docindex(*command)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, '', 1)
    ended = docindex(*command, '--skip-errors')
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[0] == '29 of 30 documents imported; the index holds 29'
    assert ended.stdout.splitlines()[-1].startswith(f'skipped: row {row_of("flat-7")}: ')


@pytest.mark.parametrize('schema', ['nowhere:Flat', 'tests.docarray.schemas:Nobody', 'Flat', 'json:loads'])
def test_the_command_needs_a_class(new: Path, schema: str) -> None:
    """A schema that cannot be found is an error of use that says why."""
    ended = docindex('import-docarray', HERE / 'flat', new, '--schema', schema)
    assert ended.returncode == 2
    assert f'--schema {schema}' in ended.stderr
    assert not new.exists()
