"""What a server, or its address, can be wrong in: one clear error each, which names the uri and never the token."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymilvus import DataType, MilvusClient

from docindex import (
    BaseDoc,
    CollectionError,
    Field,
    NdArray,
    SchemaError,
    SchemaMismatchError,
    ServerError,
    SettingsError,
)
from docindex.milvus.index import MilvusDocumentIndex
from tests.milvus.servers import GuardedServer, free_port, guarded_server


class Film(BaseDoc):
    title: str = ''
    plot: NdArray = Field(dim=2, space='l2')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedServer]:
    with guarded_server(tmp_path / 'server') as one:
        yield one


def opened(uri: str, **options: Any) -> MilvusDocumentIndex[Film]:
    return MilvusDocumentIndex[Film](uri=uri, **{'timeout': 2, **options})


def everything_said(error: BaseException) -> str:
    """Return the text of an error, of what it was made from, and of what was being handled."""
    found, one, seen = '', error, set()
    while one is not None and id(one) not in seen:
        found += ''.join(traceback.format_exception(one)) + repr(one) + str(one.args)
        seen.add(id(one))
        one = one.__cause__ or one.__context__  # also what `from None` hides
    return found


@pytest.mark.parametrize('uri', ['', 'documents', 'ftp://host:21', 'http://', '://', 'localhost:19530'])
def test_a_uri_that_is_none(uri: str) -> None:
    """What is neither an address nor a directory of Milvus Lite is refused, and the forms of a uri are named."""
    with pytest.raises(SettingsError, match=r'http://host:19530') as caught:
        opened(uri)
    assert repr(uri) in str(caught.value)


def test_a_refused_connection() -> None:
    """Where nobody listens, the error names the address and asks whether a server is running."""
    uri = f'http://127.0.0.1:{free_port()}'
    with pytest.raises(ServerError, match='is the server running') as caught:
        opened(uri)
    assert caught.value.uri == uri
    assert uri in str(caught.value)


def test_an_unknown_host() -> None:
    """A host that does not exist is named."""
    with pytest.raises(ServerError, match=r'no\.such\.host\.invalid'):
        opened('http://no.such.host.invalid:19530')


def test_a_silent_port() -> None:
    """Where somebody listens and says nothing, opening ends after the timeout."""
    with closing(socket.socket()) as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        with pytest.raises(ServerError, match='is the server running'):
            opened(f'http://127.0.0.1:{silent.getsockname()[1]}', timeout=0.3)


@pytest.mark.parametrize('given', ['', 'root:wrong horse', 'api-key-that-is-wrong'])
def test_a_wrong_token(tmp_path: Path, given: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server that lets nobody in without the right token says so, and no text anywhere has a token in it."""
    for name in ('pymilvus', 'pymilvus.decorators'):
        logging.getLogger(name).addHandler(caplog.handler)
    with guarded_server(tmp_path, token='root:correct horse') as server:
        with pytest.raises(ServerError, match='give the right token') as caught:
            opened(server.uri, token=given)
        assert server.uri in str(caught.value)
        said = everything_said(caught.value) + caplog.text
        for secret in (given, given.partition(':')[2], 'correct horse'):
            assert not secret or secret not in said
    for name in ('pymilvus', 'pymilvus.decorators'):
        logging.getLogger(name).removeHandler(caplog.handler)


def test_the_right_token(tmp_path: Path) -> None:
    """With the right token everything goes; it may stand in the uri, and is shown nowhere."""
    with guarded_server(tmp_path, token='root:correct horse') as server:
        with opened(server.uri, token='root:correct horse') as index:
            index.index(Film(id='a', plot=[1, 2]))
            assert 'correct' not in repr(index) + repr(index._db_config)
        with opened(server.uri.replace('//', '//root:correct horse@')) as index:
            assert index['a'].id == 'a'
            assert index.uri == server.uri
            assert 'correct' not in repr(index) + repr(index._db_config)


def test_an_unknown_database(server: GuardedServer) -> None:
    """A database that does not exist is named, and how to go on."""
    with pytest.raises(ServerError, match=r'nobody_made_it.*make it first') as caught:
        opened(server.uri, db_name='nobody_made_it')
    assert server.uri in str(caught.value)


def test_databases_are_apart(server: GuardedServer) -> None:
    """An index in one database is not that of the same name in another."""
    client = MilvusClient(server.uri)
    client.create_database('other')
    client.close()
    with opened(server.uri) as here, opened(server.uri, db_name='other') as there:
        here.index(Film(id='a', plot=[1, 2]))
        assert (len(here), len(there)) == (1, 0)


def test_an_old_server(tmp_path: Path) -> None:
    """A server from before upserts is refused by its version."""
    with guarded_server(tmp_path, version='v2.2.16') as server, pytest.raises(ServerError, match=r'2\.2\.16.*2\.3'):
        opened(server.uri)


class Two(BaseDoc):
    plot: NdArray = Field(dim=2)
    sound: NdArray = Field(dim=2)


class Priced(BaseDoc):
    price: float = 0
    plot: NdArray = Field(dim=2)


class Reviewed(BaseDoc):
    review: str = Field(full_text=True)
    plot: NdArray = Field(dim=2)


@pytest.mark.parametrize(
    ('doc_type', 'says'),
    [
        (Two, r'Two has 2 vector fields \(plot, sound\), and Milvus 2\.3 has one.*2\.4 has several'),
        (Priced, r'Priced: price may be None or NaN, and Milvus 2\.3 has no nullable fields; 2\.5 has'),
        (Reviewed, r'Reviewed: full_text \(review\) needs BM25, which Milvus 2\.3 has not; 2\.5 has'),
    ],
)
def test_what_an_old_server_lacks(tmp_path: Path, doc_type: type[BaseDoc], says: str) -> None:
    """A schema that needs more than the server has is refused by name, and nothing is made."""
    with guarded_server(tmp_path, version='v2.3.5-lite') as server:
        with pytest.raises(SchemaError, match=says):
            MilvusDocumentIndex[doc_type](uri=server.uri)  # type: ignore[valid-type]  # known when it runs
        assert 'CreateCollection' not in server.calls


def test_a_foreign_collection(server: GuardedServer) -> None:
    """A collection of the name of ours that something else has made is left alone, and named."""
    client = MilvusClient(server.uri)
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field('id', DataType.VARCHAR, is_primary=True, max_length=100)
    schema.add_field('plot', DataType.FLOAT_VECTOR, dim=2)
    client.create_collection('Film', schema=schema)
    with pytest.raises(CollectionError, match=r"'Film'.*made by something else.*choose another index_name") as caught:
        opened(server.uri)
    assert server.uri in str(caught.value)
    assert [field['name'] for field in client.describe_collection('Film')['fields']] == ['id', 'plot']
    client.close()
    with opened(server.uri, index_name='films') as index:
        assert len(index) == 0


def test_another_schema(server: GuardedServer) -> None:
    """An index that was made with another schema names the fields that differ."""
    with opened(server.uri) as index:
        index.index(Film(id='a', plot=[1, 2]))
    with pytest.raises(SchemaMismatchError, match=r'another schema: sound .*title') as caught:
        MilvusDocumentIndex[Two](uri=server.uri, index_name='Film')
    assert server.uri in str(caught.value)


def test_calls_are_repeated(server: GuardedServer) -> None:
    """What fails for a moment is repeated, in writes and reads, and nobody notices."""
    with opened(server.uri, timeout=30) as index:
        for refused in (1, 3):
            server.unavailable = refused
            index.index([Film(id=f'{at}', plot=[at, 1]) for at in range(3)])
            server.unavailable = refused
            assert len(index) == 3
            server.unavailable = refused
            assert index.find([0, 1], limit=1).documents[0].id == '0'
            server.unavailable = refused
            assert sorted(index) == ['0', '1', '2']


def test_what_stays_wrong_ends(server: GuardedServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that never answers is given up when the time is over: an error, and nothing on stderr."""
    with opened(server.uri, timeout=0.5) as index:
        server.unavailable = 10**6
        with pytest.raises(ServerError, match='come back later'):
            len(index)
        server.unavailable = 0
        assert len(index) == 0
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('name', ['a b', 'a"b', "a'b", 'a\\b', 'a\nb', '1a', 'é', 'a-b', '日本', 'a' * 256, 'a;drop'])
def test_names_of_indexes(server: GuardedServer, name: str) -> None:
    """An index name that cannot be that of a collection is refused before anything is sent."""
    with pytest.raises((SettingsError, SchemaError), match='name'):
        opened(server.uri, index_name=name)
    assert 'CreateCollection' not in server.calls
