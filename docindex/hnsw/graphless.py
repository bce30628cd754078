"""
What is said where hnswlib is missing, and how to get it.

Everything works without it but graphs: searches compare with every vector. All graphs are asleep then, and their files
stay as they are. Like any graph that the truth has left behind (I5), they are completed from the vectors, when the
directory is opened with hnswlib again.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from pathlib import Path

from ..errors import MissingLibraryError
from .graph import why_impossible

logger = logging.getLogger('docindex')

REQUIREMENT = 'hnswlib>=0.8,<0.9'
COMPILERS = {
    'linux': '`sudo apt install build-essential python3-dev` (Debian, Ubuntu) or `sudo dnf install gcc-c++ '
    'python3-devel` (Fedora)',
    'darwin': '`xcode-select --install`',
    'win32': '"Desktop development with C++" of the Visual Studio Build Tools',
}
"""By `sys.platform`, what brings a C++ compiler."""
CONDA = 'conda install -c conda-forge "hnswlib=0.8"'


def how_to_install() -> str:
    """Return the line that installs hnswlib on this system, and what it needs."""
    if (Path(sys.prefix) / 'conda-meta').is_dir():
        return f'`{CONDA}`'
    # What cannot be used is there already, and may be in pip's cache as well.
    is_there = not isinstance(why_impossible(), ModuleNotFoundError)
    anew = '--no-cache-dir --force-reinstall --no-deps ' if is_there else ''
    compiler = COMPILERS.get(sys.platform, 'a C++ compiler, and the headers of Python')
    return f'`pip install {anew}"{REQUIREMENT}"` compiles it, for which it needs {compiler}'


def check_possible(what: str) -> None:
    """
    Check that there can be graphs, for `what` is about them: 'tune'.

    Raises:
        MissingLibraryError: there is no hnswlib; the message says how to install it.
    """
    if why_impossible():
        message = f'{what} needs hnswlib, which {_problem()}; searches are exact without it. {how_to_install()}'
        raise MissingLibraryError(message, name='hnswlib')


@cache  # once in a process: nothing changes before the next one
def say_once() -> None:
    """Say in the log why searches have no graph to ask."""
    logger.warning(
        'searches compare with every vector, which is exact, and takes the longer the more there are: hnswlib %s. %s',
        _problem(),
        how_to_install(),
    )


def _problem() -> str:
    failure = why_impossible()
    return 'is not installed' if isinstance(failure, ModuleNotFoundError) else f'cannot be used ({failure})'
