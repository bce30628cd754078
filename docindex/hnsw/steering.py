"""`Steering`: what a user can measure and set of an index's speed and memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from .. import _files
from .._aio import beside
from .._later import later
from .._progress import progress_bar
from ..errors import QueryError
from ..fusion import check_integer
from ..scopes import Scope, checked_ef, vector_field
from .changing import Changing
from .searching import Searching
from .store import Store

if TYPE_CHECKING:
    from .._aio import OneByOne
    from .stats import IndexStats
    from .tuning import Queries, TuneResult

D = TypeVar('D', bound=BaseModel)


class Steering(Changing[D]):
    """Measures and sets speed and memory of the graphs in a store."""

    if TYPE_CHECKING:  # what `HnswDocumentIndex` has from elsewhere

        @property
        def index_name(self) -> str: ...
        @property
        def _writes(self) -> OneByOne: ...

    # -- accuracy --------------------------------------------------------------------------------------

    def tune(
        self,
        search_field: str = '',
        recall: float = 0.95,
        *,
        limit: int = 10,
        queries: Any = None,
        sample: int = 1000,
        store: bool = True,
        plot: bool = False,
        show_progress: bool | None = None,
    ) -> TuneResult:
        """
        Find the smallest `ef` with which searches reach a recall, and let them use it from now on.

        Queries are answered exactly, and then by the graph with one `ef` after another. The `ef` is stored as
        `configure(ef=...)` does, for searches with any limit; one that is given to a search comes first. Searches and
        writes go on meanwhile.

        Best with `queries` like those that users ask. Without them, vectors beside the stored ones are asked for: those
        are like stored vectors that the graph has not seen. Queries of another kind (texts, where pictures are stored)
        are harder, and need a larger `ef`.

        Args:
            search_field: The vector field.
            recall: Which share of the true neighbours is to be found, above 0 and up to 1.
            limit: Of how many nearest neighbours.
            queries: Vectors, or documents, as for `find_batched`.
            sample: Beside how many stored vectors to search, if there are no `queries`; beside the same ones each time.
            store: False: only measure.
            plot: True: draw the curve, as `result.figure`, for which matplotlib is needed.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

        Returns:
            The choice and the curve; `print(result)` shows both. If no `ef` up to 200 times `limit` is enough,
            `result.is_reached` is False, and nothing is stored.

        Raises:
            QueryError: there is no such field, it has no graph, or fewer than two vectors.
            VectorError: a query is not usable; see its subclasses.
            ReadOnlyError: the result is to be stored, in an index that was opened with `read_only=True`.
            MissingLibraryError: matplotlib is to draw, and is missing; or hnswlib is.
        """
        used = self._usable()
        name = vector_field(self._level, self._tree.vectors, search_field)
        asked = self._asked(used, name, queries, sample)
        result: TuneResult = later('hnsw.tuning').tune(used, name, recall, limit, asked, store, plot, show_progress)
        return result

    def recall(
        self,
        search_field: str = '',
        limit: int = 10,
        *,
        ef: int | None = None,
        queries: Any = None,
        sample: int = 1000,
        show_progress: bool | None = None,
    ) -> float:
        """
        Return which share of the `limit` true nearest neighbours searches find, from 0 to 1.

        Measured as `tune` does, with `queries` or beside stored vectors; the curve of
        `tune(..., store=False)` has the standard error, too.

        Args:
            search_field: The vector field. Of one without a graph (`index=False`, or no hnswlib) all neighbours are
                found: 1.0.
            limit: Of how many neighbours.
            ef: How many candidates a search examines. None: what the settings say.
            queries: As for `tune`.
            sample: As for `tune`. It takes as long as so many exact searches.
            show_progress: As for `tune`.

        Raises:
            QueryError: there is no such field, or its graph has fewer than two vectors.
        """
        name = vector_field(self._level, self._tree.vectors, search_field)
        store = self._usable()
        asked = self._asked(store, name, queries, sample)
        found: float = later('hnsw.tuning').recall(store, name, limit, checked_ef(ef), asked, show_progress)
        return found

    def _asked(self, store: Store, name: str, queries: Any, sample: int) -> Queries:
        if queries is None:
            check_integer('sample', sample, 1)
            return sample
        scope = Scope(self._level, self._tree.schema.level_of(name))
        queries = self._as_vectors(scope, name, queries)
        with store.reading() as view:
            matrix = Searching(view, scope).queries(name, queries)
        if not len(matrix):
            raise QueryError('there are no queries to measure with')
        return matrix

    async def atune(
        self,
        search_field: str = '',
        recall: float = 0.95,
        *,
        limit: int = 10,
        queries: Any = None,
        sample: int = 1000,
        store: bool = True,
        plot: bool = False,
    ) -> TuneResult:
        """Do what `tune` does, while the event loop goes on."""
        return await self._writes.run(
            self.tune,
            search_field,
            recall,
            limit=limit,
            queries=queries,
            sample=sample,
            store=store,
            plot=plot,
            show_progress=False,
        )

    async def arecall(
        self, search_field: str = '', limit: int = 10, *, ef: int | None = None, queries: Any = None, sample: int = 1000
    ) -> float:
        """Do what `recall` does, while the event loop goes on."""
        return await beside(
            self.recall, search_field, limit, ef=ef, queries=queries, sample=sample, show_progress=False
        )

    # -- memory ----------------------------------------------------------------------------------------

    def stats(self) -> IndexStats:
        """
        Return what the index consists of: documents, vectors, what is dead, graphs, bytes, seconds.

        `print(index.stats())` shows it as tables. It costs no more than a query.
        """
        found: IndexStats = later('hnsw.stats').stats(self._usable(), self.index_name)
        return found

    def warm_up(self, search_field: str = '', *, show_progress: bool | None = None) -> float:
        """
        Load what is not in memory yet, so that the first search is as fast as later ones; return the seconds taken.

        Graphs that are not loaded are (`lazy=True`, `unload`). The files of documents and vectors are read once, so
        that the operating system has them in memory, as far as there is room. And each field is searched once.

        Args:
            search_field: The vector field. All, if it is empty.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.
        """
        start, store = time.perf_counter(), self._usable()
        every = self._tree.vectors
        names = [vector_field(self._level, every, search_field)] if search_field else list(every)
        for name in names:
            store.wake(name, show_progress)
        with store.reading() as view:
            documents, paths = view.rows.path, [view.state.files[name].path for name in names]
            samples = {name: view.searching(name).some() for name in names}
        total = sum(_files.size(path) for path in (documents, *paths))
        with progress_bar(total, 'reading', show_progress, 'byte') as advance:
            store.read_through()
            advance(_files.size(documents))
            for path in paths:
                _files.read_through(path, advance)
        for name, vector in samples.items():
            if vector is not None:
                self.find(vector, self._level.name_of(name), 1)
        return time.perf_counter() - start

    def unload(self, search_field: str = '') -> None:
        """
        Give back the memory of a field's graph; the next search in the field loads it again.

        What is in no file is saved first, if this process writes. A reader's next search adds again what the file
        lacks.

        Args:
            search_field: The vector field; needed only if there are several.

        Raises:
            QueryError: there is no such field, or this thread is in a batch.
            WorkDirError: the graph cannot be saved; it stays loaded.
        """
        store = self._usable()
        store.unload(vector_field(self._level, self._tree.vectors, search_field))

    async def awarm_up(self, search_field: str = '') -> float:
        """Do what `warm_up` does, while the event loop goes on."""
        return await beside(self.warm_up, search_field, show_progress=False)

    async def aunload(self, search_field: str = '') -> None:
        """Do what `unload` does, while the event loop goes on."""
        await self._writes.run(self.unload, search_field)
