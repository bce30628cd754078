"""
`DocIndexVectorStore`: any index of documents with texts as a vector store of LlamaIndex.

    store = DocIndexVectorStore(work_dir='nodes', dim=384)
    index = VectorStoreIndex.from_vector_store(store, embed_model)
    index.as_retriever(vector_store_query_mode='hybrid', similarity_top_k=3).retrieve('machines that play chess')

Nodes come back as they were: class, relationships, metadata. Similarities are larger where a node fits better.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from .._aio import beside
from .._optional import optional
from ..errors import FilterError, QueryError, SettingsError
from ..fields import Space
from ..filters import FilterLike
from ..index import DocumentIndex
from ..kinds import Kind
from ..query import QueryBuilder
from ..results import FindResult
from .layout import TextLayout
from .texts import Node, open_texts

optional('llama_index.core', 'llama-index', 'vector stores of LlamaIndex', 'llama-index-core')
from llama_index.core.bridge.pydantic import PrivateAttr  # noqa: E402 (its absence has been explained)
from llama_index.core.schema import (  # noqa: E402
    BaseNode,
    MetadataMode,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore.utils import json_to_doc  # noqa: E402
from llama_index.core.vector_stores.types import (  # noqa: E402
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

_REF = 'ref_doc_id'
_REST = '_node'
"""Keys of the metadata beside that of users: the document a node is of, and all else that is known of the node."""
_ALSO_REF = ('doc_id', 'document_id')  # LlamaIndex's stores know it by three names
_RESOURCES = ('text_resource', 'image_resource', 'audio_resource', 'video_resource')

_COMPARED = {
    FilterOperator.EQ: '$eq',
    FilterOperator.NE: '$ne',
    FilterOperator.GT: '$gt',
    FilterOperator.GTE: '$gte',
    FilterOperator.LT: '$lt',
    FilterOperator.LTE: '$lte',
    FilterOperator.IN: '$in',
    FilterOperator.NIN: '$nin',
    FilterOperator.ANY: '$any',
    FilterOperator.ALL: '$all',
    FilterOperator.CONTAINS: '$contains',
}
_SEVERAL = {FilterOperator.ANY: '$or', FilterOperator.ALL: '$and'}
_MMR_PREFETCH = 4  # times similarity_top_k, as LlamaIndex's other stores do


class DocIndexVectorStore(BasePydanticVectorStore):
    """
    A vector store of LlamaIndex: over a directory of its own, or over an open index of any schema with texts.

    Everything is durable when a call returns, so `persist` has nothing to do. A store that has a `work_dir` can be
    pickled, and made again by `from_dict(store.to_dict())`: that opens the directory.

    Args:
        index: An open index. Its documents are found as nodes; for nodes to be added it needs a field that is a dict,
            `metadata: dict[str, Any] = {}`.
        work_dir: Instead of an index, a directory; it is made if it is missing.
        dim: In a directory, how long the vectors are.
        space: In a directory, what distance means: 'cosine', 'l2' or 'ip'. Left out: what it means there; 'cosine' in
            a new one.
        read_only: In a directory, beside the process that writes; see `HnswDocumentIndex`.
        shared_writes: In a directory, beside other processes that write.
        settings: In a directory, more settings of the vector field, `{'M': 32}`; see `docindex.fields.VectorSettings`.
        text_field: In an index, the field with the text.
        vector_field: In an index, the field with its vector; may be left out if there is only one.
        metadata_field: In an index, a field that is a dict, for what has no field of its own: `metadata`, if there is
            one.
        metadata_fields: In an index, which fields are metadata, `['author']`, or, by the keys they have there,
            `{'author': 'author__name'}`. Left out: all but ids, text, dict and tensors, by their flat names. A field
            for the key `ref_doc_id` makes deleting by it fast.

    Raises:
        SettingsError: neither index nor directory, or both; or a setting is out of range.
        QueryError: there is no such field, or it cannot hold this.
        WorkDirError: the directory cannot be used: it holds vectors of another length, say.
    """

    stores_text: bool = True
    work_dir: str | None = None
    dim: int | None = None
    space: str | None = None
    read_only: bool = False
    shared_writes: bool = False
    settings: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)

    _index: DocumentIndex[Any] = PrivateAttr()
    _layout: TextLayout = PrivateAttr()

    def __init__(
        self,
        index: DocumentIndex[Any] | None = None,
        *,
        work_dir: str | os.PathLike[str] | None = None,
        dim: int | None = None,
        space: Space | None = None,
        read_only: bool = False,
        shared_writes: bool = False,
        settings: Mapping[str, Any] | None = None,
        text_field: str = 'text',
        vector_field: str = '',
        metadata_field: str | None = '',
        metadata_fields: Mapping[str, str] | Sequence[str] | None = None,
        stores_text: bool = True,
        is_embedding_query: bool = True,
    ) -> None:
        if (work_dir is None) == (index is None):
            raise SettingsError("say where the nodes are kept: work_dir='a directory' and dim=384, or an open index")
        own = {'space': space, 'read_only': read_only, 'shared_writes': shared_writes, 'settings': dict(settings or {})}
        fields: dict[str, Any] = {
            'work_dir': work_dir and os.fspath(work_dir),
            'dim': dim,
            'stores_text': stores_text,
            **own,
        }
        super().__init__(is_embedding_query=is_embedding_query, **fields)
        if index is None:
            index = self._own_index()
            metadata_fields = {_REF: 'ref_doc_id', _REST: 'node'}
        self._index = index
        self._layout = TextLayout.of(
            index._documents_class(),
            text_field=text_field,
            vector_field=vector_field,
            metadata_field=metadata_field,
            metadata_fields=metadata_fields,
        )

    def _own_index(self) -> DocumentIndex[Any]:
        if self.work_dir is None or self.dim is None:
            raise SettingsError('say how long the vectors of your embedding model are: dim=384')
        settings = {'space': self.space, **self.settings, 'read_only': self.read_only}
        return open_texts(self.work_dir, Node, self.dim, shared_writes=self.shared_writes, **settings)

    @classmethod
    def from_params(
        cls, work_dir: str | os.PathLike[str], dim: int, space: Space | None = None, **settings: Any
    ) -> DocIndexVectorStore:
        """Open a directory, or make one; `settings` are those of the vector field, `M=32`."""
        return cls(work_dir=work_dir, dim=dim, space=space, settings=settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows the class by."""
        return 'DocIndexVectorStore'

    @property
    def client(self) -> DocumentIndex[Any]:
        """The index."""
        return self._index

    # -- writing ---------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """
        Store nodes with their embeddings, all of them or none; a node whose id is there replaces the one before.

        Returns their ids. LlamaIndex passes arguments on that are for other stores; they are ignored.

        Raises:
            ValueError: a node has no embedding.
            DocumentError: metadata does not fit the schema.
        """
        self._index.index([self._document(node) for node in nodes])
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Do what `add` does, while the event loop goes on."""
        await self._index.aindex(await beside(list, map(self._document, nodes)))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        self._index.delete(self._ids({self._layout.name_of(_REF): ref_doc_id}))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Do what `delete` does, while the event loop goes on."""
        await self._index.adelete(await beside(self._ids, {self._layout.name_of(_REF): ref_doc_id}))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """
        Delete the nodes with these ids, passing over unknown ones; of them, or of all, those that match the filters.

        Raises:
            QueryError: there are neither ids nor filters; `clear` deletes everything.
        """
        self._index.delete(self._ids(self._to_delete(node_ids, filters)))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Do what `delete_nodes` does, while the event loop goes on."""
        await self._index.adelete(await beside(self._ids, self._to_delete(node_ids, filters)))

    def clear(self) -> None:
        """Delete all nodes."""
        self._index.delete(list(self._index))

    async def aclear(self) -> None:
        """Do what `clear` does, while the event loop goes on."""
        await self._index.adelete(await beside(lambda: list(self._index)))

    def _to_delete(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> FilterLike:
        if node_ids is None and (filters is None or not filters.filters):  # which everything matches
            raise QueryError('delete_nodes() takes node_ids, filters, or both; clear() deletes all nodes')
        return self._condition(node_ids, None, filters)

    def _ids(self, condition: FilterLike) -> list[str]:
        query = self._index.build_query().filter(condition).select('id')
        return [doc.id for doc in self._index.execute_query(query.build()).documents]

    # -- reading ---------------------------------------------------------------------------------

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return the nodes with these ids, in their order, that match the filters; without either all nodes."""
        found: list[Any] = self._index.filter(self._condition(node_ids, None, filters), limit=None)
        if node_ids is not None:
            by_id = {doc.id: doc for doc in found}
            found = [by_id[id_] for id_ in node_ids if id_ in by_id]
        return [self._node(doc) for doc in found]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Do what `get_nodes` does, while the event loop goes on."""
        return await beside(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """
        Return the nodes that answer a query, best first.

        The modes are `default`, `mmr`, `text_search` (also called `sparse`) and `hybrid`. A similarity is the cosine or
        the dot product, under l2 1 / (1 + squared distance); of a text search BM25; of `hybrid`, from 0 to 1, the two
        joined, `alpha` being the weight of the vector (0.75 if it is not given).

        Args:
            query: `similarity_top_k` says how many, for `hybrid` `hybrid_top_k` if it is given; `filters`, `node_ids`
                and `doc_ids` all count; `embedding_field` is another vector field to search.
            kwargs: `filter`, a filter of metadata keys in docindex's own language; for `mmr` also `mmr_threshold`
                (0: variety, 1: nearness) and `mmr_prefetch_k` or `mmr_prefetch_factor`; in `default` and `mmr` also
                what `find` takes: `exact`, `ef`.

        Raises:
            QueryError: the mode is none of these, or the query lacks what it needs.
            FilterError: a filter does not fit the schema.
        """
        ids = query.node_ids or None, query.doc_ids or None  # retrievers say [] where they mean: whichever
        condition = self._condition(*ids, query.filters, kwargs.pop('filter', None))
        field = query.embedding_field or self._layout.vector_field
        if query.mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            near = self._near(query, field, condition, kwargs)
            return self._result(self._index.execute_query(near.build()), _similarity_of(self._space(field)))
        limit = query.similarity_top_k
        if query.mode in (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE):
            found = self._index.text_search(_needed(query, 'query_str'), limit=limit, filter=condition, **kwargs)
        elif query.mode == VectorStoreQueryMode.HYBRID:
            text, vector = _needed(query, 'query_str'), _needed(query, 'query_embedding')
            weights = None if query.alpha is None else (query.alpha, 1 - query.alpha)
            limit = query.hybrid_top_k or limit
            found = self._index.hybrid(text, vector, field, '', limit, filter=condition, weights=weights, **kwargs)
        else:
            raise QueryError(
                f'there is no mode {_mode_of(query)!r} here; the modes are default, mmr, text_search and hybrid'
            )
        return self._result(found, float)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do what `query` does, while the event loop goes on."""
        return await beside(self.query, query, **kwargs)

    def _near(
        self, query: VectorStoreQuery, field: str, condition: FilterLike, options: dict[str, Any]
    ) -> QueryBuilder:
        vector, limit = _needed(query, 'query_embedding'), query.similarity_top_k
        builder = self._index.build_query().filter(condition)
        if query.mode == VectorStoreQueryMode.DEFAULT:
            return builder.find(vector, field, limit, **options)
        threshold = options.pop('mmr_threshold', query.mmr_threshold)
        fetched = options.pop('mmr_prefetch_k', None)
        factor = options.pop('mmr_prefetch_factor', _MMR_PREFETCH)
        near = builder.find(vector, field, max(limit, fetched or int(limit * factor)), **options)
        return near.diversify(limit, lambda_mult=0.5 if threshold is None else threshold)

    def _space(self, field: str) -> Space:
        space: Space = self._index.settings(field)['space']
        return space

    def _result(self, found: FindResult[Any], similarity: Callable[[float], float]) -> VectorStoreQueryResult:
        nodes = [self._node(doc) for doc in found.documents]
        scores = [similarity(float(score)) for score in found.scores]
        return VectorStoreQueryResult(nodes=nodes, similarities=scores, ids=[node.node_id for node in nodes])

    # -- filters ---------------------------------------------------------------------------------

    def _condition(
        self,
        node_ids: Sequence[str] | None,
        doc_ids: Sequence[str] | None,
        filters: MetadataFilters | None,
        given: FilterLike = None,
    ) -> FilterLike:
        """Return the filter that all of these are together."""
        every: list[FilterLike] = []
        if node_ids is not None:
            every.append({'id': {'$in': list(node_ids)}})
        if doc_ids is not None:
            every.append({self._layout.name_of(_REF): {'$in': list(doc_ids)}})
        if filters is not None:
            every.append(self._joined(filters))
        if given is not None:
            every.append(self._layout.filter(given))
        return {'$and': every} if every else None

    def _joined(self, filters: MetadataFilters) -> FilterLike:
        parts = [self._joined(one) if isinstance(one, MetadataFilters) else self._one(one) for one in filters.filters]
        if not parts:
            return {}
        if filters.condition == FilterCondition.NOT:  # none of them holds
            return {'$not': {'$or': parts}}
        return {'$or' if filters.condition == FilterCondition.OR else '$and': parts}

    def _one(self, filter_: MetadataFilter) -> FilterLike:
        """Return one comparison; missing metadata is as in LlamaIndex's own: unequal to everything, and in no list."""
        name = self._layout.name_of(_REF if filter_.key in _ALSO_REF else filter_.key)
        operator, value, kind = filter_.operator, filter_.value, self._layout.kind_of(name)
        if operator in _SEVERAL and isinstance(value, list) and value and kind.name in ('text', 'any'):
            return {_SEVERAL[operator]: [{name: {'$contains': one}} for one in value]}  # parts of a text, too
        if operator in _COMPARED:
            return {name: {_COMPARED[operator]: value}}
        if operator == FilterOperator.IS_EMPTY:
            return {'$or': [{name: None}, *({name: empty} for empty in _empty_values(kind))]}
        if not isinstance(value, str):
            raise FilterError(f'{filter_.key}: {operator.value} takes a string, got {type(value).__name__} {value!r}')
        is_sensitive = operator == FilterOperator.TEXT_MATCH
        return {name: {'$regex': re.escape(value) if is_sensitive else f'(?i){re.escape(value)}'}}

    # -- nodes and documents -----------------------------------------------------------------------

    def _document(self, node: BaseNode) -> dict[str, Any]:
        rest = node.model_dump(mode='json', exclude_defaults=True, exclude={'embedding', 'metadata', 'id_'})
        rest.pop('text', None)
        if rest.get('text_resource'):
            rest['text_resource'].pop('text', None)
        for name in _RESOURCES:
            resource = getattr(node, name, None)
            if resource is not None and resource.data is not None:  # base64, which LlamaIndex leaves out of its JSON
                rest[name]['data'] = resource.data.decode()
        kept: dict[str, Any] = {_REST: {'type': str(ObjectType(node.get_type()).value), 'data': rest}}
        if node.metadata.keys() & {_REF, _REST}:  # somebody's own, which ours would hide
            kept[_REST]['metadata'] = node.metadata
        metadata = {**node.metadata, **kept, _REF: node.ref_doc_id}
        return self._layout.document(node.node_id, node.get_content(MetadataMode.NONE), node.get_embedding(), metadata)

    def _node(self, doc: Any) -> BaseNode:
        text, metadata = self._layout.text(doc), self._layout.metadata(doc)
        ref, rest = metadata.pop(_REF, None), metadata.pop(_REST, None)
        if rest is None:  # it was stored by the index itself
            of = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref)} if ref else {}
            return TextNode(id_=doc.id, text=text, metadata=metadata, relationships=of)
        data = {**rest['data'], 'id_': doc.id, 'metadata': rest.get('metadata', metadata)}
        if data.get('text_resource') is not None:
            data['text_resource'] = {**data['text_resource'], 'text': text}
        elif text:
            data['text'] = text
        return json_to_doc({'__type__': rest['type'], '__data__': data})

    # -- copies ------------------------------------------------------------------------------------

    def __reduce__(self) -> Any:
        if self.work_dir is None:
            raise SettingsError('a store over an open index cannot be pickled; one with a work_dir can')
        return _opened, (type(self), self.model_dump(exclude={'class_name'}))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()  # an index is a handle: there is one of it


def _opened(cls: type[DocIndexVectorStore], fields: dict[str, Any]) -> DocIndexVectorStore:
    return cls.from_dict(fields)


def _needed(query: VectorStoreQuery, name: str) -> Any:
    value = getattr(query, name)
    if value is None:
        raise QueryError(f'a query in mode {_mode_of(query)!r} needs {name}')
    return value


def _mode_of(query: VectorStoreQuery) -> str:
    return VectorStoreQueryMode(query.mode).value  # a plain string is one, too


def _similarity_of(space: Space) -> Callable[[float], float]:
    if space == 'l2':
        return lambda distance: 1 / (1 + distance)
    return lambda distance: 1 - distance


def _empty_values(kind: Kind) -> list[Any]:
    """Return what a value of this kind is when LlamaIndex calls it empty: a dict never is."""
    if kind.choices is not None:
        return []
    empty: dict[str, list[Any]] = {'text': [''], 'list': [[]], 'any': ['', []]}
    return [{'$eq': value} for value in empty.get(kind.name, [])]
