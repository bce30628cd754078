"""
What users install: a wheel and an sdist, built, looked into, installed into fresh environments, and tested there.

    python -m tests.distribution                  into environments that see the libraries of this one; no network
    python -m tests.distribution --fresh          into empty ones: pip fetches, or compiles, what docindex asks for
    python -m tests.distribution tests/hnsw -x    with other tests than a few: pytest's arguments

The tests are those in the sdist, beside which no docindex lies: what they import is what was installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
SMOKE = [
    'tests/test_docs.py::test_the_code_of_a_page_runs',
    'tests/test_examples.py',
    'tests/test_public_api.py',
    'tests/test_typing.py::test_mypy_accepts_user_code',  # knows the types by py.typed only
    'tests/conformance/test_hnsw.py::TestHnswSubindexes',
]
NOT_FOR_USERS = {'.ci/run', '.gitignore'}
"""What a clone has and the sdist has not; but hatchling adds .gitignore, by which it chooses files once more."""
MADE = {'PKG-INFO'}


class WrongError(Exception):
    """What was built is not what it should be."""


def main(arguments: list[str]) -> int:
    is_fresh = '--fresh' in arguments
    asked = [argument for argument in arguments if argument != '--fresh']
    with TemporaryDirectory(prefix='docindex-distribution-') as place:
        try:
            check(Path(place), is_fresh, asked or SMOKE)
        except (WrongError, subprocess.CalledProcessError) as error:
            print(f'distribution: {error}', file=sys.stderr)
            return 1
    return 0


def check(place: Path, is_fresh: bool, tests: list[str]) -> None:
    wheel, sdist = built(place / 'dist')
    tree = unpacked(sdist, place / 'sdist')
    check_sdist(tree)
    check_wheel(wheel, tree)
    shutil.rmtree(tree / 'docindex')
    of_wheel = environment_with(wheel, place / 'from-wheel', is_fresh)
    of_sdist = environment_with(sdist, place / 'from-sdist', is_fresh)
    package = contents(installed(of_wheel))
    if package != contents(installed(of_sdist)):
        raise WrongError('the wheel and the sdist install different files')
    print(f'wheel and sdist install the same {len(package)} files; with these, the tests that are in the sdist:')
    sys.stdout.flush()
    run(of_wheel, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *tests, cwd=tree, is_shown=True)


# -- what is built ---------------------------------------------------------------------------------


def built(directory: Path) -> tuple[Path, Path]:
    """Return a new wheel and a new sdist; the wheel is made from what the sdist has."""
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', directory, ROOT, cwd=ROOT)
    (wheel,), (sdist,) = directory.glob('*.whl'), directory.glob('*.tar.gz')
    name = f'{PROJECT["name"].replace("-", "_")}-'
    for archive in (wheel, sdist):
        if not archive.name.startswith(name):
            raise WrongError(f'{archive.name} does not begin with {name}')
    return wheel, sdist


def unpacked(sdist: Path, directory: Path) -> Path:
    shutil.unpack_archive(sdist, directory)
    return directory / sdist.name.removesuffix('.tar.gz')


def check_sdist(tree: Path) -> None:
    """Check that the sdist has what the clone has: every test, and every command of the documentation."""
    if not (ROOT / '.git').exists():
        print('this is no clone, so that nobody knows which files an sdist should have')
        return
    # New files, too, if git does not ignore them: they will be in the next commit.
    listed = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    known = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\0')
    expected = {name for name in known if name and (ROOT / name).exists()}
    compare('the sdist', files(tree) - MADE - NOT_FOR_USERS, expected - NOT_FOR_USERS)


def check_wheel(wheel: Path, tree: Path) -> None:
    """Check that the wheel has the package, with py.typed, and nothing else: no tests, no benchmarks."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
    compare('the wheel', names, {f'docindex/{name}' for name in files(tree / 'docindex')})
    if 'docindex/py.typed' not in names:
        raise WrongError('py.typed is missing: type checkers would not look at the types')


def compare(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        lacking, more = sorted(expected - found), sorted(found - expected)
        raise WrongError(f'{what} lacks {lacking} and has {more}, which it should not have')


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob('*') if path.is_file()}


# -- what is installed -----------------------------------------------------------------------------


def environment_with(archive: Path, home: Path, is_fresh: bool) -> Path:
    """Return the Python of a new environment into which pip has installed an archive."""
    venv.create(home, symlinks=os.name != 'nt')
    python = home / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    pip = [sys.executable, '-m', 'pip', '--python', python, 'install', '-q']
    if is_fresh:
        run(*pip, f'{archive}[test]', cwd=home)
        return python
    # The libraries of this environment come after those of the new one; what an editable install put here does not.
    (packages_of(python) / 'libraries.pth').write_text(sysconfig.get_path('purelib'))
    run(*pip, '--no-index', '--no-deps', '--ignore-installed', '--no-build-isolation', archive, cwd=home)
    return python


def installed(python: Path) -> Path:
    """Return where the package is that an environment imports, and run the command that was installed with it."""
    found = Path(run(python, '-c', 'import docindex; print(docindex.__file__)', cwd=python.parent).strip()).parent
    if found != packages_of(python) / 'docindex':
        raise WrongError(f'the environment of {python} imports {found}')
    said = run(python.with_name('docindex'), '--help', cwd=python.parent)
    if 'Usage: docindex' not in said:
        raise WrongError(f'`docindex --help` says {said!r}')
    return found


def packages_of(python: Path) -> Path:
    code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    return Path(run(python, '-c', code, cwd=python.parent).strip())


def contents(package: Path) -> dict[str, bytes]:
    names = sorted(name for name in files(package) if '__pycache__' not in name)
    return {name: (package / name).read_bytes() for name in names}


def run(*command: str | Path, cwd: Path, is_shown: bool = False) -> str:
    """
    Run a program that does not see this clone; return what it printed, if it is not shown at once.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    without = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    output = None if is_shown else subprocess.PIPE
    ended = subprocess.run(list(map(str, command)), cwd=cwd, env=without, stdout=output, text=True, check=True)
    return ended.stdout or ''


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
