"""The public names, and what importing them costs."""

from __future__ import annotations

import types

import docindex
from tests import programs

OPTIONAL = [
    'torch',
    'jax',
    'tensorflow',
    'ml_dtypes',
    'PIL',
    'pandas',
    'tqdm',
    'rich',
    'pytest',
    'hypothesis',
    'pymilvus',
    'docindex.testing',
]


def test_all_is_what_can_be_seen() -> None:
    """`__all__` lists every public name of the package, once, and nothing else; submodules are not among them."""
    visible = {
        name
        for name, value in vars(docindex).items()
        if not name.startswith('_') and not isinstance(value, types.ModuleType)
    }
    assert set(docindex.__all__) == visible
    assert len(docindex.__all__) == len(set(docindex.__all__))


def test_every_error_is_public() -> None:
    """Whatever docindex raises on purpose can be caught by a name of the package."""
    errors = {name for name, value in vars(docindex.errors).items() if name.endswith('Error') and value.__module__}
    assert errors <= set(docindex.__all__)


def test_star_import_brings_the_public_names() -> None:
    """`from docindex import *` works and brings `__all__`."""
    names: dict[str, object] = {}
    exec('from docindex import *', names)
    assert set(docindex.__all__) <= set(names)


def test_the_version_is_a_version() -> None:
    """`__version__` consists of numbers."""
    assert all(part.isdecimal() for part in docindex.__version__.split('.'))


def test_importing_docindex_imports_nothing_optional() -> None:
    """`import docindex` loads its four dependencies, and nothing that is optional, even where it is installed."""
    loaded = programs.run('import docindex, sys; print(*sys.modules)').stdout.split()
    assert {'numpy', 'pydantic', 'hnswlib', 'filelock'} <= set(loaded)
    assert not set(OPTIONAL) & set(loaded)
