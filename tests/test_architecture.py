"""Who may know whom. Read from the source, so that a forbidden import fails wherever in a function it hides."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.programs import ROOT

PACKAGE = ROOT / 'docindex'

LAYERS = [
    {'errors', '_files', '_aio', '_later', '_optional', 'locks'},
    {'_progress'},
    {'frameworks'},
    {'tensors', 'media'},
    {'embedding'},
    {'fields'},
    {'urls'},
    {'document', 'doclist', 'distances', 'deferred'},
    {'predefined', 'typing'},
    {'values'},
    {'kinds', 'annotations', 'refusals'},
    {'schema', 'results', 'fusion', 'planes'},
    {'filters', 'responses', 'selecting'},
    {'parsing', 'translating'},
    {'expressions', 'query'},
    {'execution', 'scopes', 'incoming', 'filling'},
    {'plain'},
    {'typed'},
    {'blueprint', 'packing', 'tensorjson'},
    {'rebuilding', 'guessing'},
    {'tables'},
    {'arrow', 'sources', 'bookmarks', 'pictures'},
    {'textfiles'},
    {'formats', 'texts'},
    {'frames', 'display'},
    {'loading', 'exporting'},
    {'searchable'},
    {'sublists', 'changes'},
    {'payload', 'matrices', 'columns', 'index'},
    {'plotting'},
    {'hnsw', 'milvus', 'testing', 'copying'},
    {'fromdocarray', 'integrations'},
    {'cli'},
    {'__main__'},
]
"""Knowledge flows down this list: a module imports from its own line or an earlier one."""

OWNERS = {
    'hnswlib': {'hnsw.graph'},
    'sqlite3': {'hnsw.connection', 'fromdocarray.directory'},  # ours, and DocArray's
    'filelock': {'hnsw.workdir'},
    'pymilvus': {'milvus.server'},
    'milvus_lite': {'milvus.engines'},
    'tenacity': {'milvus.failures'},
    'tqdm': {'_progress'},
    'typer': {'cli.app', 'cli.copying', 'cli.reading', 'cli.storing', 'cli.upkeep', 'cli.reference'},
    'PIL': {'media'},
    'pyarrow': {'arrow', 'formats', 'exporting'},
    'pandas': {'frames'},
    'polars': {'frames'},
    'langchain_core': {'integrations.langchain', 'integrations.langchain_retriever'},
    'llama_index': {'integrations.llama_index'},
    'matplotlib': {'plotting'},
    'umap': {'planes'},
}
STRANGERS = [('hnsw.rows', 'hnsw.vectors'), ('hnsw.graph', 'hnsw.rows')]
STRANGERS += [('hnsw.graph', 'hnsw.sidecar'), ('hnsw.graph', 'hnsw.vectors'), ('hnsw.graph', 'hnsw.workdir')]
STRANGERS += [('hnsw.sidecar', 'hnsw.vectors'), ('hnsw.sidecar', 'hnsw.workdir'), ('hnsw.vectors', 'hnsw.workdir')]
SYNCING_OR_RENAMING = {'fsync', 'fdatasync', 'replace', 'rename', 'renames', 'link', 'symlink'}


def module_name(path: Path) -> str:
    """Return 'hnsw.store' for docindex/hnsw/store.py, and '' for the package root."""
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(part for part in parts if part != '__init__')


TREES = {module_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob('*.py'))}


def imports(module: str) -> Iterator[str]:
    """Yield the absolute dotted name of everything a module imports: 'docindex.errors', 'numpy.typing'."""
    is_package = (PACKAGE / module.replace('.', '/') / '__init__.py').exists()
    here = ['docindex', *module.split('.')] if module else ['docindex']
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == 'optional'
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            origin = '.'.join([*base, *filter(None, [node.module])])
            inside = origin.removeprefix('docindex').removeprefix('.')
            for alias in node.names:
                submodule = f'{inside}.{alias.name}'.removeprefix('.')
                yield f'docindex.{submodule}' if origin.startswith('docindex') and submodule in TREES else origin


def ours(module: str) -> set[str]:
    """Return the modules of docindex that a module imports; '' is the package root."""
    return {
        name.removeprefix('docindex').removeprefix('.')
        for name in imports(module)
        if name == 'docindex' or name.startswith('docindex.')
    }


@pytest.mark.parametrize('module', [module for module in TREES if module])
def test_nothing_imports_the_package_root(module: str) -> None:
    """A module imports from the module that defines a name, never from `docindex` itself."""
    assert '' not in ours(module)


def test_modules_that_are_called_later_exist() -> None:
    """Each `later('name')` names a module of docindex, so that a mistyped one fails here and not at somebody's call."""
    called = {
        ast.literal_eval(node.args[0])
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == 'later' and isinstance(node.args[0], ast.Constant)
    }
    assert {'display', 'loading', 'hnsw.check'} <= called <= set(TREES)


def test_there_are_no_import_cycles() -> None:
    """The modules can be read in an order in which each knows only earlier ones."""
    order = list(TopologicalSorter({module: ours(module) for module in TREES}).static_order())
    assert set(order) == set(TREES)


@pytest.mark.parametrize('module', [module for module in TREES if module])
def test_knowledge_flows_one_way(module: str) -> None:
    """A module knows its own layer and earlier ones, and every module has a layer."""
    layer_of = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    top = module.split('.')[0]
    assert top in layer_of, f'{module} has no layer; give it one in this file and in docs/architecture.md'
    for other in ours(module):
        assert layer_of[other.split('.')[0]] <= layer_of[top], f'{module} imports {other}'


@pytest.mark.parametrize(('library', 'owners'), OWNERS.items())
def test_a_library_has_its_owners(library: str, owners: set[str]) -> None:
    """Just one module imports hnswlib, one filelock, one tqdm; one sqlite3 for each format."""
    users = {module for module in TREES if any(name.split('.')[0] == library for name in imports(module))}
    assert users == owners


@pytest.mark.parametrize(('one', 'other'), STRANGERS)
def test_the_parts_of_the_store_do_not_know_each_other(one: str, other: str) -> None:
    """Graph, rows, vectors and work directory are joined by the store, and otherwise strangers."""
    assert other not in ours(one)
    assert one not in ours(other)


def test_the_backend_is_not_known_to_what_it_implements() -> None:
    """Nothing but the package root, the command line and what makes or fills an index imports the local backend."""
    users = {
        module for module in TREES if not module.startswith('hnsw') and any(m.startswith('hnsw') for m in ours(module))
    }
    assert {module for module in users if not module.startswith('cli.')} == {
        '',
        'fromdocarray.importing',
        'integrations.texts',
    }


def test_only_one_module_syncs_or_renames() -> None:
    """Files are synced and renamed in `_files` and nowhere else, so that a test can stand in for the disk."""
    found = set()
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                is_text = node.func.attr == 'replace' and len(node.args) == 2 and owner != 'os'  # str.replace(a, b)
                is_dataclass = bool(node.keywords) and node.func.attr == 'replace'
                if node.func.attr in SYNCING_OR_RENAMING and not is_text and not is_dataclass:
                    found.add(module)
    assert found == {'_files'}


def test_user_input_never_meets_assert() -> None:
    """`assert` is for the test kit only: what a user gives is refused by errors that `python -O` keeps."""
    asserting = {
        module for module, tree in TREES.items() if any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    }
    assert all(module.startswith('testing.') for module in asserting)
