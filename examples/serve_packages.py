"""
A search service over HTTP for Debian packages: one process writes, and any number of processes read beside it.

    python examples/serve_packages.py                               fill an index, and ask its service in this process

    export PACKAGES=/tmp/packages
    python examples/serve_packages.py --work-dir $PACKAGES          the same, and keep the index
    uvicorn --app-dir examples --factory serve_packages:writer --port 8001
    uvicorn --app-dir examples --factory serve_packages:reader --port 8000 --workers 2

Then http://127.0.0.1:8000/docs shows what can be asked. docs/fastapi.md explains each part.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from docindex import (
    BaseDoc,
    DocIndexError,
    DocumentError,
    DocumentNotFoundError,
    Field,
    FindResult,
    HnswDocumentIndex,
    IdTypeError,
    NdArray,
    QueryError,
    VectorError,
    fields_of,
)

PAGE = 500


class Package(BaseDoc):
    """A package, as it is stored, asked for by its id, and put."""

    description: str = Field(full_text=True, tokenizer='porter')
    section: str
    size: int
    embedding: NdArray = Field(dim=384, space='cosine')


class Listed(BaseDoc):
    """A package in a list of answers: without its vector, which would be nine tenths of it."""

    description: str
    section: str
    size: int


class Question(pydantic.BaseModel):
    """What to search for: a vector, words, or both; or what is like a package."""

    vector: NdArray | None = Field(default=None, dim=384)
    words: str = ''
    like: str = ''
    filter: dict[str, Any] | None = None
    limit: int = pydantic.Field(10, ge=1, le=100)


F = fields_of(Package)


def reader() -> FastAPI:
    """The service without writing, for as many processes as there are processors."""
    return service(os.environ['PACKAGES'], read_only=True)


def writer() -> FastAPI:
    """The service with writing, for one process: a second one would be told that the directory is locked."""
    return service(os.environ['PACKAGES'], read_only=False)


def service(work_dir: str | Path, read_only: bool) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with HnswDocumentIndex[Package](work_dir=work_dir, read_only=read_only) as index:
            await index.awarm_up()
            app.state.index = index
            yield

    app = FastAPI(title='Debian packages', lifespan=lifespan)
    app.include_router(reads)
    if not read_only:
        app.include_router(writes)
    app.add_exception_handler(DocIndexError, failed)
    return app


async def failed(request: Request, error: Exception) -> JSONResponse:
    """Answer with what docindex says: it names the field, or the id, and what to do."""
    wrong_question = (QueryError, VectorError, DocumentError, IdTypeError)
    status = 404 if isinstance(error, DocumentNotFoundError) else 422 if isinstance(error, wrong_question) else 503
    return JSONResponse({'detail': str(error)}, status)


def the_index(request: Request) -> HnswDocumentIndex[Package]:
    index: HnswDocumentIndex[Package] = request.app.state.index
    return index


Index = Annotated[HnswDocumentIndex[Package], Depends(the_index)]
reads, writes = APIRouter(), APIRouter()


# -- what everybody can ask ---------------------------------------------------------------------------------------


@reads.get('/')
async def about(index: Index) -> dict[str, int]:
    return {'packages': await index.anum_docs()}


@reads.get('/packages/{id}')
async def package(id: str, index: Index) -> Package:  # noqa: A002
    found = await index.aget(id)
    if found is None:
        raise DocumentNotFoundError([id])
    return found


@reads.post('/search', response_model=FindResult[Listed])
async def search(question: Question, index: Index) -> FindResult[Package]:
    """The packages that answer a question best, with their scores."""
    how: dict[str, Any] = {'limit': question.limit, 'filter': question.filter}
    vector = (await package(question.like, index)).embedding if question.like else question.vector
    if question.words and vector is not None:
        return await index.ahybrid(question.words, vector, **how)
    if question.words:
        return await index.atext_search(question.words, limit=question.limit, filter=question.filter)
    if vector is None:
        raise QueryError('there is nothing to search for: give a vector, words, or the id of a package as like')
    return await index.afind(vector, **how)


@reads.get('/packages.jsonl')
async def every_package(index: Index, section: str = '') -> AsyncIterable[Listed]:
    """All packages, or those of a section, as lines of JSON: sent while they are read, page by page."""
    wanted = F.section == section if section else None
    last = ''
    while page := await index.afilter(F.id > last if wanted is None else wanted & (F.id > last), PAGE, sort='id'):
        for found in page:
            yield Listed.model_validate(found, from_attributes=True)
        last = page[-1].id


# -- what the one that writes can do --------------------------------------------------------------------------------


@writes.put('/packages')
async def put(packages: list[Package], index: Index) -> dict[str, int]:
    """Store packages, all of them or none; one whose id exists is replaced."""
    await index.aindex(packages)
    return {'stored': len(packages)}


@writes.patch('/packages/{id}')
async def change(id: str, fields: dict[str, Any], index: Index) -> Package:  # noqa: A002
    """Change some fields, by their flat names."""
    await index.aupdate(id, **fields)
    return await package(id, index)


@writes.delete('/packages/{id}', status_code=204)
async def delete(id: str, index: Index) -> None:  # noqa: A002
    if not await index.adelete(id):
        raise HTTPException(404, f'there is no package {id!r}')


# -- by itself --------------------------------------------------------------------------------------------------


def main(data: Path, work_dir: Path) -> None:
    with HnswDocumentIndex[Package](work_dir=work_dir) as index:
        if not len(index):
            index.index(read_packages(data), show_progress=True)
    question = json.loads((data / 'queries.json').read_text())[13]
    vector = np.load(data / 'queries.npz')['text'][13]  # what a model has made of the question
    with TestClient(service(work_dir, read_only=True)) as client:
        print(client.get('/').json())
        ask(client, {'words': 'chess engine', 'limit': 3})
        ask(client, {'like': 'gnome-chess', 'filter': {'section': 'games'}, 'limit': 3})
        ask(client, {'words': question, 'vector': vector.tolist(), 'limit': 3})
        ask(client, {'vector': [1, 2]})
        ask(client, {'words': 'chess', 'filter': {'sektion': 'games'}})
        with client.stream('GET', '/packages.jsonl', params={'section': 'games'}) as answer:
            lines = list(answer.iter_lines())
        print(f'\nGET /packages.jsonl?section=games\n{len(lines)} lines, the first: {lines[0]}')


def read_packages(data: Path) -> list[Package]:
    vectors = np.load(data / 'embeddings.npz')['description']
    with gzip.open(data / 'packages.jsonl.gz', 'rt', encoding='utf-8') as lines:
        rows = [json.loads(line) for line in lines]
    return [Package(id=row.pop('name'), embedding=vector, **row) for row, vector in zip(rows, vectors, strict=True)]


def ask(client: TestClient, question: dict[str, Any]) -> None:
    shown = {name: f'{len(value)} numbers' if name == 'vector' else value for name, value in question.items()}
    answer = client.post('/search', json=question)
    print(f'\nPOST /search {json.dumps(shown)}')
    if answer.is_error:
        print(f'{answer.status_code} {answer.json()["detail"]}')
        return
    found = answer.json()
    for document, score in zip(found['documents'], found['scores'], strict=True):
        print(f'{score:8.3f}  {document["id"]}: {document["description"]}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, help='where to keep the index (a temporary directory)')
    parser.add_argument('--data', type=Path, default=Path(__file__).with_name('data'), help='other data of this format')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            main(options.data, options.work_dir or Path(temporary))
        except (DocIndexError, OSError) as error:
            sys.exit(f'{parser.prog}: {error}')
