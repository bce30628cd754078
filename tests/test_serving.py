"""The search service of the examples, asked over HTTP as its users ask it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from docindex import HnswDocumentIndex
from tests.programs import PATIENCE, ROOT, environment

EXAMPLES = ROOT / 'examples'


@pytest.fixture(scope='module')
def example() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import serve_packages

        yield serve_packages
    finally:
        sys.path.remove(str(EXAMPLES))


def package(name: str, **fields: Any) -> dict[str, Any]:
    """Return a package as JSON; packages with names that begin alike have vectors that are alike."""
    vector = np.random.default_rng(ord(name[0])).normal(size=384) + 0.01 * len(name)
    given = {'description': f'The {name} package', 'section': 'games', 'size': 100, **fields}
    return {'id': name, 'embedding': vector.tolist(), **given}


PACKAGES = [package(name) for name in ('chess', 'checkers', 'chat', 'atlas')] + [package('zip', section='utils')]


@pytest.fixture
def writer(example: Any, tmp_path: Path) -> Iterator[TestClient]:
    """Return a client of a service that writes, with some packages in it."""
    with TestClient(example.service(tmp_path, read_only=False)) as client:
        assert client.put('/packages', json=PACKAGES).json() == {'stored': 5}
        yield client


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [document['id'] for document in answer.json()['documents']]


def test_a_search_by_vector_words_or_likeness(writer: TestClient) -> None:
    """Packages are found by a vector, by words, by both, and by another package, with filters, the best first."""
    vector = PACKAGES[3]['embedding']
    answer = writer.post('/search', json={'vector': vector, 'limit': 2})
    assert ids(answer)[0] == 'atlas'
    assert answer.json()['scores'][0] == pytest.approx(0, abs=1e-6)
    assert set(answer.json()['documents'][0]) == {'id', 'description', 'section', 'size'}
    assert ids(writer.post('/search', json={'words': 'checkers'})) == ['checkers']
    assert ids(writer.post('/search', json={'words': 'chat', 'vector': PACKAGES[2]['embedding']}))[0] == 'chat'
    like = {'like': 'chess', 'limit': 3}
    assert sorted(ids(writer.post('/search', json=like))) == ['chat', 'checkers', 'chess']
    assert ids(writer.post('/search', json={**like, 'filter': {'section': 'utils'}})) == ['zip']


def test_a_document_goes_over_http_and_comes_back(writer: TestClient) -> None:
    """What was put comes back whole, vectors included, and can be put again."""
    found = writer.get('/packages/chess').json()
    assert found['embedding'] == PACKAGES[0]['embedding']
    assert found['section'] == 'games'
    assert writer.put('/packages', json=[found]).json() == {'stored': 1}
    assert writer.get('/packages/chess').json() == found
    assert writer.get('/').json() == {'packages': 5}


def test_changes_and_deletions(writer: TestClient) -> None:
    """Fields are changed, words and all, and a package that is deleted is gone."""
    assert writer.patch('/packages/zip', json={'size': 7, 'description': 'Bags'}).json()['size'] == 7
    assert ids(writer.post('/search', json={'words': 'bags'})) == ['zip']
    assert writer.delete('/packages/zip').status_code == 204
    assert writer.delete('/packages/zip').status_code == 404
    assert writer.get('/packages/zip').status_code == 404


@pytest.mark.parametrize(
    ('method', 'path', 'body', 'status', 'complaint'),
    [
        ('GET', '/packages/nobody', None, 404, 'nobody'),
        ('POST', '/search', {}, 422, 'nothing to search for'),
        ('POST', '/search', {'like': 'nobody'}, 404, 'nobody'),
        ('POST', '/search', {'vector': [1, 2]}, 422, 'holds 384-d vectors, got 2-d'),
        ('POST', '/search', {'vector': 'x'}, 422, 'array of numbers'),
        ('POST', '/search', {'words': 'a', 'limit': 1000}, 422, 'less than or equal to 100'),
        ('POST', '/search', {'words': 'a', 'filter': {'sektion': 'x'}}, 422, "did you mean 'section'"),
        ('PATCH', '/packages/zip', {'sise': 3}, 422, "no field 'sise'"),
        ('PATCH', '/packages/zip', {'size': 'large'}, 422, 'size'),
        ('PUT', '/packages', [{'id': 'x'}], 422, 'description'),
    ],
)
def test_a_bad_question_is_told_what_is_wrong(
    writer: TestClient, method: str, path: str, body: Any, status: int, complaint: str
) -> None:
    """What docindex or pydantic refuses is an answer of 404 or 422, with the error's own words."""
    answer = writer.request(method, path, json=body)
    assert answer.status_code == status
    assert complaint in str(answer.json()['detail'])
    assert writer.get('/').json() == {'packages': 5}


def test_lines_are_sent_page_by_page(writer: TestClient, example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All packages, or those of a section, come as lines of JSON, each once, however small the pages are."""
    monkeypatch.setattr(example, 'PAGE', 2)
    with writer.stream('GET', '/packages.jsonl') as answer:
        assert answer.headers['content-type'].startswith('application/jsonl')
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert [line['id'] for line in lines] == sorted(each['id'] for each in PACKAGES)
    with writer.stream('GET', '/packages.jsonl', params={'section': 'utils'}) as answer:
        assert [json.loads(line)['id'] for line in answer.iter_lines()] == ['zip']


def test_a_reader_sees_the_writer_and_cannot_write(writer: TestClient, example: Any, tmp_path: Path) -> None:
    """A service that reads answers what the other has written by its next call, and has no way to write."""
    with TestClient(example.service(tmp_path, read_only=True)) as reader:
        assert reader.get('/').json() == {'packages': 5}
        writer.put('/packages', json=[package('new', description='Quixotic')])
        assert ids(reader.post('/search', json={'words': 'quixotic'})) == ['new']
        assert reader.put('/packages', json=PACKAGES).status_code == 404
        assert reader.delete('/packages/new').status_code == 405


def test_the_description_of_the_service_is_right(writer: TestClient) -> None:
    """OpenAPI names the document class and the results, and answers are as it says."""
    described = writer.get('/openapi.json').json()
    schemas = described['components']['schemas']
    assert {'Package', 'Listed', 'FindResult_Listed_', 'Question'} <= set(schemas)
    assert schemas['Package']['properties']['embedding']['maxItems'] == 384
    lines = described['paths']['/packages.jsonl']['get']['responses']['200']['content']
    assert 'application/jsonl' in lines
    answers = {
        'FindResult_Listed_': writer.post('/search', json={'like': 'chess'}).json(),
        'Package': writer.get('/packages/chess').json(),
    }
    for name, answer in answers.items():
        schema = {'$ref': f'#/components/schemas/{name}', 'components': described['components']}
        Draft202012Validator.check_schema(schemas[name])
        Draft202012Validator(schema).validate(answer)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def served(factory: str, work_dir: Path, *options: str) -> Iterator[str]:
    """Serve with uvicorn in processes of their own; give the address once it answers."""
    port = free_port()
    command = [sys.executable, '-m', 'uvicorn', '--app-dir', str(EXAMPLES), '--factory', f'serve_packages:{factory}']
    env = {**environment(), 'PACKAGES': str(work_dir)}
    server = subprocess.Popen([*command, '--port', str(port), *options], env=env, start_new_session=True)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                get(f'http://127.0.0.1:{port}/')
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        try:
            server.wait(PATIENCE)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def get(url: str, body: Any = None, method: str = 'GET') -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {'content-type': 'application/json'}, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_workers_of_uvicorn_read_beside_a_writer(tmp_path: Path, example: Any) -> None:
    """Two workers of uvicorn answer from one directory, and see at once what another server has written to it."""
    with HnswDocumentIndex[example.Package](work_dir=tmp_path) as index:
        index.index([example.Package(**given) for given in PACKAGES])
    with served('writer', tmp_path) as writer, served('reader', tmp_path, '--workers', '2') as reader:
        for at in range(10):
            get(f'{writer}/packages', [package(f'new{at}', description='Quixotic')], 'PUT')
            found = get(f'{reader}/search', {'words': 'quixotic', 'limit': 50}, 'POST')
            assert sorted(doc['id'] for doc in found['documents']) == [f'new{n}' for n in range(at + 1)]
