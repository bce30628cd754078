"""Memory in large pages: who asks, for what, and that nothing but speed depends on it."""

import ctypes
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docindex.fields import VectorSettings
from docindex.hnsw import hugepages
from docindex.hnsw.graph import Graph
from docindex.hnsw.hugepages import HugePages
from tests.programs import ROOT, environment

SETTING = Path('/sys/kernel/mm/transparent_hugepage/enabled')
SIZE = 64 << 20  # more than malloc ever takes from memory that it has

needs_large_pages = pytest.mark.skipif(
    sys.platform != 'linux' or not SETTING.exists() or '[never]' in SETTING.read_text(),
    reason='this kernel has no large pages to give',
)


@pytest.fixture
def malloc() -> Iterator[Callable[[], int]]:
    """Return what allocates memory as hnswlib does, and gives its address."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    made: list[int] = []

    def allocate() -> int:
        made.append(libc.malloc(ctypes.c_size_t(SIZE)))
        return made[-1]

    yield allocate
    for address in made:
        libc.free(ctypes.c_void_p(address))


@pytest.fixture
def is_alone(request: pytest.FixtureRequest) -> bool:
    """
    Return whether this is a process of this test alone; if not, the test has passed in one.

    Where much is loaded, the kernel joins new memory to old, which is older than the block.
    """
    if 'DOCINDEX_ALONE' in os.environ:
        return True
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', request.node.nodeid]
    ran = subprocess.run(
        command, cwd=ROOT, env={**environment(), 'DOCINDEX_ALONE': '1'}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
    return False


def smaps(address: int) -> dict[str, str]:
    """Return what the kernel says of the memory at an address."""
    found: dict[str, str] = {}
    for line in Path('/proc/self/smaps').read_text().splitlines():
        head = re.match(r'([0-9a-f]+)-([0-9a-f]+) ', line)
        if head:
            if found:
                break
            is_there = int(head[1], 16) <= address < int(head[2], 16)
        elif is_there:
            name, _, value = line.partition(':')
            found[name] = value.strip()
    return found


def has_no_large_pages() -> bool:
    """Return whether the kernel has none of the large pages left that it would need."""
    lines = Path('/proc/buddyinfo').read_text().splitlines()
    return sum(int(count) for line in lines for count in line.split()[-2:]) < SIZE >> 21


@needs_large_pages
def test_what_is_allocated_inside_is_to_have_large_pages(malloc: Callable[[], int], is_alone: bool) -> None:
    """The kernel is asked for large pages for memory from inside the block, and not for any from before it."""
    if not is_alone:
        return
    before = malloc()
    with HugePages(SIZE):
        inside = malloc()
    assert 'hg' in smaps(inside + SIZE // 2)['VmFlags'].split()
    assert 'hg' not in smaps(before + SIZE // 2)['VmFlags'].split()


@needs_large_pages
def test_what_is_filled_inside_gets_large_pages(
    malloc: Callable[[], int], is_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is written inside the block already is made of large pages soon after it."""
    if not is_alone:
        return
    monkeypatch.setattr(hugepages, '_GRACE', 0)
    with HugePages(SIZE, is_filled=True):
        address = malloc()
        ctypes.memset(address, 1, SIZE)
    for thread in threading.enumerate():
        if thread.name == 'docindex-hugepages':
            thread.join()
    if tuple(map(int, re.findall(r'\d+', platform.release())[:2])) < (6, 1):
        pytest.skip('kernels before 6.1 do this by themselves, in minutes')
    if has_no_large_pages():
        pytest.skip('the memory of this machine is in pieces')
    assert smaps(address + SIZE // 2)['AnonHugePages'] != '0 kB'


@pytest.mark.parametrize('is_wanted', [True, False])
def test_nothing_is_made_large_before_a_while_has_passed(monkeypatch: pytest.MonkeyPatch, is_wanted: bool) -> None:
    """Pages are made large some time after the block, and not at all if the memory is of no use any more by then."""
    done: list[str] = []
    wanted = [True]

    def sleep(seconds: float) -> None:
        assert seconds > 0
        done.append('waited')
        wanted[0] = is_wanted

    monkeypatch.setattr(hugepages.time, 'sleep', sleep)
    monkeypatch.setattr(hugepages, '_is_mostly_there', lambda page: True)
    monkeypatch.setattr(hugepages, '_advise', lambda *what: done.append('made large'))
    HugePages(SIZE, True, lambda: wanted[0])._collapse([(0, 2 * hugepages._PAGE)])
    assert done == (['waited', 'made large', 'made large'] if is_wanted else ['waited'])


@pytest.mark.parametrize('why', ['small', 'another system'])
def test_nothing_is_asked_for_where_it_is_of_no_use(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory, and other systems, are left alone: not even the list of memory is read."""

    def never(*_: object) -> None:
        raise AssertionError('looked')

    monkeypatch.setattr(hugepages, '_areas', never)
    monkeypatch.setattr(hugepages, '_advise', never)
    if why == 'another system':
        monkeypatch.setattr(hugepages, '_madvise', lambda: None)
    with HugePages(SIZE if why == 'another system' else 1 << 20):
        pass


def test_an_error_inside_comes_out() -> None:
    """What fails inside the block fails as it does without it."""
    with pytest.raises(MemoryError, match='no room'), HugePages(SIZE):
        raise MemoryError('no room')


areas = st.lists(st.integers(0, 60), unique=True).map(
    lambda edges: list(zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False))
)


@given(areas, areas)
def test_new_areas_are_those_that_were_not_there(now: list[tuple[int, int]], before: list[tuple[int, int]]) -> None:
    """What is left of areas without others has each address that is in the first and not in the second, once."""
    left = hugepages._without(now, before)
    addresses = [address for start, end in left for address in range(start, end)]
    there = {address for start, end in now for address in range(start, end)}
    gone = {address for start, end in before for address in range(start, end)}
    assert sorted(addresses) == sorted(there - gone)
    assert all(start < end for start, end in left)


def test_a_graph_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph finds the same with and without large pages, built and loaded."""
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    settings = VectorSettings(dim=16, max_elements=60_000)
    labels = np.arange(300)
    found = []
    for largest in (8 << 20, 1 << 62):
        monkeypatch.setattr(hugepages, '_LARGE', largest)
        graph = Graph(settings)
        graph.add(labels, vectors, lambda known: vectors[known], lambda label: True)
        graph.save(tmp_path / 'graph')
        loaded = Graph.load(tmp_path / 'graph', settings, 300, [], 0, [], [])
        found += [graph.search(vectors, 5, 50), loaded.search(vectors, 5, 50)]
    for nodes, distances in found[1:]:
        assert nodes.tolist() == found[0][0].tolist()
        assert distances.tolist() == found[0][1].tolist()
