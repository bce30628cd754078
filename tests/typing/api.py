"""
What a user's editor and type checker see. Checked with `mypy --strict` and pyright by `tests/test_typing.py`; not run.

A line that must be an error says so in a `type: ignore`, which a strict checker reports when it is not needed.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from pydantic import TypeAdapter

from docindex import (
    AnyTensor,
    AudioUrl,
    BaseDoc,
    DocList,
    DocumentIndex,
    Embedder,
    Field,
    FindResult,
    FindResultBatched,
    HnswDocumentIndex,
    ImageDoc,
    ImageUrl,
    NdArray,
    SubindexFindResult,
    TextDoc,
    TextUrl,
    TorchTensor,
    VideoUrl,
    contains,
    contains_all,
    contains_any,
    exists,
    fields_of,
    is_in,
    regex,
    size,
)
from docindex.typing import AnyEmbedding


class Image(BaseDoc):
    url: str
    tensor: NdArray = Field(dim=64, space='cosine')


class Video(BaseDoc):
    title: str
    seconds: int = 0
    thumbnail: Image
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, int] = Field(default_factory=dict)
    year: int | None = None
    tensor: NdArray = Field(dim=128, M=32, ef_construction=400)
    sound: NdArray | None = Field(default=None, dim=16, space='ip')


vector = np.zeros(128, np.float32)
image = Image(url='boat.png', tensor=np.zeros(64))
video = Video(title='A boat', thumbnail=image, tensor=vector)
assert_type(video.title, str)
assert_type(video.id, str)
assert_type(video.thumbnail.url, str)
assert_type(video.tensor, np.ndarray[Any, np.dtype[Any]])

# -- what a checker must refuse ------------------------------------------------------------------------

Video(thumbnail=image, tensor=vector)  # type: ignore[call-arg]  # no title
Video(title='A boat', tensor=vector, thumbnail=image, length=3)  # type: ignore[call-arg]  # no such field
Video(title=3, thumbnail=image, tensor=vector)  # type: ignore[arg-type]
Field(space='manhattan')  # type: ignore[arg-type]
Field(dimension=128)  # type: ignore[arg-type]
HnswDocumentIndex[int](work_dir='videos')  # type: ignore[type-var]

# -- an index --------------------------------------------------------------------------------------

index = HnswDocumentIndex[Video](work_dir='videos')
assert_type(index, HnswDocumentIndex[Video])
HnswDocumentIndex[Video]('videos', index_name='boats', lock_timeout=3)
HnswDocumentIndex[Video](HnswDocumentIndex.DBConfig(work_dir='videos'))
HnswDocumentIndex[Video](work_dir='videos', default_column_config={np.ndarray: {'space': 'cosine'}})
with HnswDocumentIndex[Video](work_dir='videos') as opened:
    assert_type(opened, HnswDocumentIndex[Video])

index.index(video)
index.index([video, video])
index.index(DocList[Video]([video]))
index.index({'title': 'A boat', 'thumbnail': image, 'tensor': vector})
index.index((item for item in [video]), show_progress=True)
index.index_columns(title=['A boat'], thumbnail__url=['boat.png'], tensor=np.zeros((1, 128)), show_progress=None)
index.index_columns({'title': ['A boat']}, tensor=[vector])

# -- finding ---------------------------------------------------------------------------------------

found = index.find(vector, search_field='tensor', limit=3)
assert_type(found, FindResult[Video])
assert_type(found.documents, DocList[Video])
assert_type(found.documents[0], Video)
assert_type(found.documents[0].title, str)
assert_type(found.documents[:2], DocList[Video])
assert_type(found.scores, np.ndarray[Any, np.dtype[np.float32]])
docs, scores = found
assert_type(docs, DocList[Video])
for doc in docs:
    assert_type(doc, Video)
index.find(video, 'tensor', exact=True)
index.find([0.0] * 128, 'tensor', ef=200)
index.find(image, 'thumbnail__tensor')

batched = index.find_batched(np.zeros((2, 128)), 'tensor')
assert_type(batched, FindResultBatched[Video])
assert_type(batched.documents, list[DocList[Video]])
assert_type(batched.documents[0][0], Video)
index.find_batched([video, vector], 'tensor', limit=3)

# -- filters -----------------------------------------------------------------------------------------

F = fields_of(Video)
assert_type(F, Video)
assert_type(F.seconds, int)
index.filter(F.seconds < 10)
index.filter((F.seconds < 10) & is_in(F.title, ['A boat', 'Another']))
index.filter(is_in(F.title, ['A boat']) & (F.seconds < 10))
index.filter((F.seconds < 10) | (F.title == 'A boat'))
index.filter(~F.title.startswith('x'))
index.filter(~(F.seconds < 10) & (F.title != 'x'))
index.filter(~is_in(F.seconds, [1, 2]) | exists(F.sound))
index.filter(F.thumbnail.url.startswith('http'))
index.filter(size(F.tags) > 3)
index.filter(F.tags[0] == 'boat')
index.filter(F.meta['length'] >= 3)
index.filter(
    contains(F.tags, 'boat') & contains_any(F.tags, ['a']) & contains_all(F.tags, ['a']) & regex(F.title, '^A')
)
index.filter(F.year == 2020)
index.filter({'seconds': {'$lt': 10}}, limit=None)
index.count(F.seconds < 10)
index.find(vector, 'tensor', filter=(F.seconds < 10) & (F.title == 'A boat'))
index.find(vector, 'tensor', filter={'title': 'A boat'})
index.find_batched([vector], 'tensor', filter=F.seconds < 10)
index.build_query().filter(F.seconds < 10).find(vector, 'tensor').build()
assert_type(index.filter(F.seconds < 10), DocList[Video])
assert_type(index.filter(None)[0].title, str)
assert_type(index.count(), int)
assert_type(index.filter_batched([F.seconds < 10, {'title': 'A boat'}]), list[DocList[Video]])

index.filter(is_in(F.seconds, [1]) & ~F.title.startswith('x'))
index.filter(F.year < 2020)  # type: ignore[operator]  # it may be None; a dictionary says it
index.filter(F.seconds < 'x')  # type: ignore[operator]
index.filter(F.second < 3)  # type: ignore[attr-defined]
index.filter(F.thumbnail.address == 'x')  # type: ignore[attr-defined]
index.filter(F.title.startswith(3))  # type: ignore[arg-type]
index.filter(size(F.tags) > 'x')  # type: ignore[operator]
index.filter('seconds < 10')  # type: ignore[arg-type]
index.filter([F.seconds < 10])  # type: ignore[arg-type]
fields_of(int)  # type: ignore[type-var]

# -- by id -----------------------------------------------------------------------------------------

assert_type(index['id'], Video)
assert_type(index[['id', 'other']], DocList[Video])
assert_type(index['id', 'other'], DocList[Video])
index[7]  # type: ignore[call-overload]
assert_type(index.get('id'), Video | None)
assert_type(index.get(['id', 'other']), DocList[Video])
assert_type(index.delete('id'), int)
assert_type(index.delete(['id', 'other']), int)
assert_type(len(index), int)
assert_type(index.num_docs(), int)
assert_type(list(index), list[str])
assert_type('id' in index, bool)
assert_type(video in index, bool)
del index['id']
del index['id', 'other']

index.update('id', title='Another', thumbnail__url='other.png')
index.update(video)
index.update([video, {'id': 'other', 'title': 'x', 'thumbnail': image, 'tensor': vector}])
index.update(DocList[Video]([video]))
index.update({'id': {'title': 'Another'}, 'other': {'title': 'x', 'tensor': vector}})
index.update(7)  # type: ignore[call-overload]
index.update(video, title='not both')  # type: ignore[call-overload]

index.configure(ef=200, search_field='tensor')
index.close()


# -- code for any backend ------------------------------------------------------------------------------


def rename(index: DocumentIndex[Video]) -> Video | None:
    assert_type(index.find(vector), FindResult[Video])
    assert_type(index.get(['id', 'other']), DocList[Video])
    index.update('id', title='Another')
    index.update({'id': {'title': 'Another'}})
    index.update(7)  # type: ignore[call-overload]
    return index.get('id')


rename(index)

# -- vectors made of texts -----------------------------------------------------------------------------


def embed(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros((len(texts), 3), np.float32)


def embed_as_lists(texts: list[str]) -> list[list[float]]:
    return [[0.0] * 3 for _ in texts]


async def embed_later(texts: list[str]) -> list[list[float]]:
    return embed_as_lists(texts)


def embed_one(text: str) -> list[float]:
    return [0.0] * 3


minilm = Embedder(embed, queries=embed_as_lists, name='minilm', batch_size=32)
assert_type(minilm.name, str)


class Question(BaseDoc):
    text: str
    answer: str | None = None
    vector: NdArray = Field(default=None, dim=3, embeds='text', with_=embed)
    both: NdArray | None = Field(default=None, dim=3, embeds=['text', 'answer'], with_=minilm)
    given: NdArray = Field(dim=3, embeds='{text}: {answer}', with_=embed_as_lists)


Question(text='who?', given=np.zeros(3))
Question(text='who?', given=np.zeros(3), vector=np.zeros(3))
Question(text='who?')  # type: ignore[call-arg]  # without default=None it is required, to a checker
Field(embeds='text', with_=embed_later)  # type: ignore[arg-type]
Field(embeds='text', with_=embed_one)  # type: ignore[arg-type]
Field(embeds='text', with_='minilm')  # type: ignore[arg-type]
Field(embeds=3, with_=embed)  # type: ignore[arg-type]
Embedder(embed_later)  # type: ignore[arg-type]

questions = HnswDocumentIndex[Question](work_dir='questions')
assert_type(questions.find('who is it?', 'vector'), FindResult[Question])
assert_type(questions.find('who is it?', 'vector').documents[0].vector, NdArray)
assert_type(questions.find_batched(['who?', 'what?'], 'both'), FindResultBatched[Question])
assert_type(questions.hybrid('who?', search_field='vector'), FindResult[Question])
assert_type(questions.hybrid('who?', np.zeros(3), 'vector'), FindResult[Question])
questions.execute_query(questions.build_query().find('who?', 'vector').build())
questions.update('id', text='what?')

# -- tensors, predefined documents, urls --------------------------------------------------------------


class Sentence(TextDoc):
    embedding: TorchTensor = Field(dim=3)
    picture: ImageDoc | None = None
    other: AnyTensor | None = None
    vector: AnyEmbedding = Field(default=None, index=False)


sentence = Sentence(text='A boat', embedding=np.zeros(3), picture=ImageDoc(tensor=np.zeros((3, 2, 2))))
assert_type(sentence.text, str | None)
assert_type(TextDoc('A boat') == 'A boat', bool)
assert_type('boat' in sentence, bool)
assert_type(ImageUrl('boat.png').load(), np.ndarray[Any, np.dtype[Any]])
assert_type(TextUrl('boat.txt').load(), str)
assert_type(AudioUrl('boat.wav').load(), tuple[np.ndarray[Any, np.dtype[Any]], int])
assert_type(VideoUrl('boat.mp4').load_bytes(max_bytes=1 << 30, allow_network=True), bytes)
VideoUrl('boat.mp4').load()  # type: ignore[attr-defined]

# -- results as responses -----------------------------------------------------------------------------


def responses(answer: SubindexFindResult[Sentence, Video], untyped: SubindexFindResult[Sentence]) -> None:
    assert_type(answer.root_documents[0], Sentence)
    assert_type(answer.documents[0], Video)
    assert_type(untyped.documents[0], Any)


read = TypeAdapter(FindResult[Video]).validate_json('{}')
assert_type(read.documents[0], Video)
