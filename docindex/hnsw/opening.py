"""What happens to a directory before it is read: it is made, or it meets a schema that may be another than before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .._later import later
from .._progress import progress_bar
from ..distances import check_comparable
from ..embedding import Recorded, check_recorded
from ..errors import CHECK, CorruptIndexError, DocIndexError, SchemaMismatchError, SettingsError
from ..fields import FILE_SETTINGS, SEARCH_SETTINGS, VectorSettings
from ..schema import Schema
from .evolution import evolution
from .extraction import Extractions, tables_of
from .records import ScannedRow
from .settings import Declared, SettingsRecord, first_entry
from .sidecar import Sidecar
from .state import NO_VECTORS, Access, check_commits
from .vectors import VectorFile
from .workdir import WorkDir

logger = logging.getLogger('docindex')

_CHECK_ROWS = 65_536


def create(
    work_dir: WorkDir, sidecar: Sidecar, schema: Schema[Any], declared: Declared, extractions: Extractions
) -> None:
    """
    Make the files of a new directory; the SQLite tables last, for they are what makes it an index.

    Raises:
        CorruptIndexError: there are vectors, so this is not new.
    """
    for field in (*declared, NO_VECTORS):
        if any(not VectorFile.is_unused(path) for path in work_dir.vector_files(field)):
            raise CorruptIndexError(
                'this SQLite file is missing or empty, but there are vectors beside it',
                work_dir.database,
                'restore it from a backup',
            )
    remembered = first_entry(declared)
    for field, both in remembered.items():
        own = both['effective']
        VectorFile.create(work_dir.vector_file(field, 0), own['dim'], stored_as=own['stored_as'])
    if not remembered:
        VectorFile.create(work_dir.vector_file(NO_VECTORS, 0), 0)
    levels = list(schema.levels)
    fields = tables_of(extractions, levels).to_json()
    description = {**_description(schema, declared), 'embeddings': schema.embeddings(declared)}
    sidecar.create({**description, 'settings': remembered, 'fields': fields, 'levels': levels})


def check_none_lost(work_dir: WorkDir, sidecar: Sidecar, access: Access) -> None:
    """
    Check that SQLite has lost no commits, before others are counted in their place, or their files are written over.

    Raises:
        CorruptIndexError: it has.
    """
    meta = sidecar.rows.meta()
    fields = SettingsRecord(sidecar, meta['settings'], {}).effective
    for field, own in (fields or {NO_VECTORS: VectorSettings(dim=0)}).items():
        path = work_dir.vector_file(field, meta['generation'] if fields else 0)
        with closing(VectorFile(path, own.dim, 0, stored_as=own.stored_as, read_only=True)) as file:
            check_commits(file, meta['commits'], sidecar, access)


def carry_over(work_dir: WorkDir, sidecar: Sidecar, schema: Schema[Any], declared: Declared) -> None:
    """
    Take a new schema for the stored documents, if it is new and they fit it; note what is new in their class.

    Raises:
        SchemaMismatchError: they do not; nothing has been changed.
    """
    meta, types = sidecar.rows.meta(), schema.describe(declared)
    if meta['columns'] == types:
        drawn = _drawn(schema)
        if meta.get('blueprint') != drawn:  # only then is a JSON schema wanted, which takes pydantic 2 ms
            sidecar.set_meta(blueprint=drawn, json_schema=schema.json_schema())
        return
    changes, new_vectors = _way(work_dir, meta, types, schema)
    given = {field: declared[field] for field in new_vectors if field in declared}
    new = first_entry(given)
    for field, both in new.items():
        path, own = work_dir.vector_file(field, meta['generation']), both['effective']
        VectorFile.create(path, own['dim'], meta['next_label'], own['stored_as'])
    settings = {**meta['settings'], **new}
    # A level keeps its number; new ones come after it.
    levels = list(dict.fromkeys((*meta['levels'], *schema.levels)))
    new_levels = range(len(meta['levels']), len(levels))
    level_of = {field: levels.index(schema.level_of(field).name) for field in given}
    fields = meta['fields'] + [[]] * len(new_levels)
    description = {**_description(schema, declared), 'settings': settings, 'levels': levels, 'fields': fields}
    sidecar.adapt(description, level_of, new_levels)
    logger.info('the schema of %s has changed: %s', work_dir, '; '.join(changes))


def check_levels(sidecar: Sidecar, schema: Schema[Any]) -> None:
    """
    Check that the directory has the lists of documents that the schema has.

    Raises:
        CorruptIndexError: it has others, though its columns are those of the schema.
    """
    if set(sidecar.rows.meta()['levels']) != set(schema.levels):
        raise CorruptIndexError('this file has other lists of documents than its columns say', sidecar.path, CHECK)


def put_fields(sidecar: Sidecar, extractions: Extractions) -> None:
    """Make the tables of fields anew from the documents, if they are not as the schema wants them."""
    meta = sidecar.rows.meta()
    if meta['fields'] != tables_of(extractions, meta['levels']).to_json():
        logger.info('%s: what filters look at is read anew from the documents', sidecar.path)
        fill_fields(sidecar, extractions)


def fill_fields(sidecar: Sidecar, extractions: Extractions, is_damaged: bool = False) -> None:
    """Make the tables of fields anew from the documents; see `Sidecar.put_fields`."""
    meta = sidecar.rows.meta()
    levels = meta['levels']

    def read(row: ScannedRow) -> tuple[Any, ...]:
        advance(1)
        extraction = extractions[levels[row.level]]
        try:
            return extraction.reread(row.data, row.tensors)
        except DocIndexError:  # damaged: `verify` says so, and whoever wants the document
            return (None,) * len(extraction.fields)

    with progress_bar(meta['next_label'], 'reading anew', None, 'document') as advance:
        sidecar.put_fields(tables_of(extractions, levels), read, is_damaged)


def put_declared(work_dir: WorkDir, sidecar: Sidecar, declared: Declared) -> None:
    """
    Take over the settings that the schema says anew.

    Raises:
        SettingsError: a setting is built into the vector file.
        VectorError: the vectors that are there are too long for a new space.
    """
    meta = sidecar.rows.meta()
    settings = SettingsRecord(sidecar, meta['settings'], {})
    news = settings.news(declared)
    for field, new in news.items():
        check_file_settings(field, settings.effective[field], new)
        if settings.effective[field].space == 'cosine' != new.space:
            _check_lengths(work_dir, sidecar, meta, field, new)
    settings.put(news, declared)


def check_embeddings(work_dir: WorkDir, sidecar: Sidecar, declared: Mapping[str, Recorded]) -> None:
    """
    Check that the functions of a schema, and the texts, are those that the vectors here were made with.

    Raises:
        SchemaMismatchError: they are others.
    """
    meta = sidecar.rows.meta()
    check_recorded(meta['embeddings'], declared, work_dir.path, is_empty=not meta['next_label'])


def put_embeddings(sidecar: Sidecar, declared: Mapping[str, Recorded]) -> bool:
    """Remember which functions make vectors from now on; return whether that was new."""
    recorded: dict[str, Recorded] = sidecar.rows.meta()['embeddings']
    is_new = {**recorded, **declared} != recorded
    if is_new:
        sidecar.set_meta(embeddings={**recorded, **declared})
    return is_new


def overlay(work_dir: WorkDir, sidecar: Sidecar, schema: Schema[Any], declared: Declared) -> dict[str, dict[str, Any]]:
    """
    Return the settings that a reader, who cannot change what is stored, has for itself.

    Raises:
        SchemaMismatchError: the stored documents do not fit the schema.
        SettingsError: the distance is another one, or what is built into a vector file.
    """
    meta, types = sidecar.rows.meta(), schema.describe(declared)
    if meta['columns'] != types:
        _, new_vectors = _way(work_dir, meta, types, schema)
        missing = [*new_vectors, *(name for name in schema.levels if name not in meta['levels'])]
        if missing:
            raise SchemaMismatchError(
                f'there is nothing yet for {", ".join(missing)}',
                work_dir.path,
                'open it once for writing with this schema',
            )
    settings = SettingsRecord(sidecar, meta['settings'], {})
    anew = settings.declared_anew(declared)
    for field, news in anew.items():
        stored = settings.effective[field]
        check_file_settings(field, stored, stored.changed(news, field))
        if 'space' in news:
            raise SettingsError(
                f'{field}: space is {stored.space!r} in {work_dir} and {news["space"]!r} in the schema; open it once '
                'for writing with this schema to change it'
            )
    return {field: {name: news[name] for name in news if name in SEARCH_SETTINGS} for field, news in anew.items()}


def check_file_settings(field: str, old: VectorSettings, new: VectorSettings) -> None:
    """
    Check that settings do not ask for another vector file.

    Raises:
        SettingsError: they do.
    """
    for name in FILE_SETTINGS:
        if getattr(new, name) != getattr(old, name):
            raise SettingsError(
                f'{field}: {name} is {getattr(old, name)!r} and cannot become {getattr(new, name)!r}: the vectors are '
                'stored like that. Make a new index in another work_dir, and index the documents there'
            )


def _way(
    work_dir: WorkDir, meta: Mapping[str, Any], types: Mapping[str, str], schema: Schema[Any]
) -> tuple[list[str], list[str]]:
    way = evolution(meta['columns'], types, schema)
    if way.obstacles:
        hint = 'open it with the schema it was made with, or index the documents anew into another work_dir'
        if not meta['next_label']:
            hint = 'nothing is stored in it yet: remove it'
        raise SchemaMismatchError(
            f'the documents in this directory do not fit the schema: {"; ".join(way.obstacles)}', work_dir.path, hint
        )
    return way.changes, way.new_vectors


def _check_lengths(
    work_dir: WorkDir, sidecar: Sidecar, meta: Mapping[str, Any], field: str, new: VectorSettings
) -> None:
    path = work_dir.vector_file(field, meta['generation'])
    copies = sidecar.rows.unsynced().get(field)
    with closing(VectorFile(path, new.dim, 0, stored_as=new.stored_as, read_only=True, copies=copies)) as file:
        rows = min(file.held, meta['next_label'])
        for start in range(0, rows, _CHECK_ROWS):
            block = file.block(start, min(start + _CHECK_ROWS, rows))
            check_comparable(block, new.space, field, lambda row: f'a document in {work_dir}')


def _description(schema: Schema[Any], declared: Declared) -> dict[str, Any]:
    return {'columns': schema.describe(declared), 'json_schema': schema.json_schema(), 'blueprint': _drawn(schema)}


def _drawn(schema: Schema[Any]) -> dict[str, Any]:
    drawn: dict[str, Any] = later('blueprint').blueprint(schema.doc_type)
    return drawn
