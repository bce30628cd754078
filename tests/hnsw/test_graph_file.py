import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest

from docindex.fields import VectorSettings
from docindex.hnsw.graph import Graph
from docindex.hnsw.graph_file import defect
from tests.programs import run

DIM, M, COUNT = 5, 4, 300
SETTINGS = VectorSettings(dim=DIM, M=M, ef_construction=20)
# DOCINDEX_HYPOTHESIS=long python -m pytest tests/hnsw/test_graph_file.py -k survives
BATCHES = 40 if os.environ.get('DOCINDEX_HYPOTHESIS') == 'long' else 1
FILES = 400
NOWHERE = (1 << 32) - 1


def vectors(count: int, dim: int = DIM, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def index_of(count: int = COUNT, settings: VectorSettings = SETTINGS, seed: int = 100) -> Any:
    """Return an index of hnswlib with the labels 0, 1, 2, ..."""
    index = hnswlib.Index(space=settings.space, dim=settings.dim)
    index.init_index(
        count + 50, M=settings.M, ef_construction=settings.ef_construction, random_seed=seed, allow_replace_deleted=True
    )
    if count:
        index.add_items(vectors(count, settings.dim), np.arange(count), num_threads=1)
    return index


def found_in(path: Path, settings: VectorSettings = SETTINGS, next_label: int = COUNT + 50) -> str | None:
    return defect(path, settings, next_label)


# -- sound files ---------------------------------------------------------------------------------


def with_deletions(count: int, *labels: int) -> Any:
    index = index_of(count)
    for label in labels:
        index.mark_deleted(label)
    return index


def grown() -> Any:
    index = index_of(10)
    for size in (20, 40, 80):
        index.resize_index(size)
        index.add_items(vectors(size // 2, seed=size), np.arange(size // 2, size), num_threads=1)
    return index


def updated() -> Any:
    index = index_of()
    for seed in range(3):
        index.add_items(vectors(200, seed=seed + 1), np.arange(50, 250), num_threads=1)
    return index


def replaced() -> Any:
    index = with_deletions(COUNT, *range(0, 80, 2))
    index.add_items(vectors(40, seed=1), np.arange(COUNT, COUNT + 40), num_threads=1, replace_deleted=True)
    return index


def out_of_order() -> Any:
    index = index_of(0)
    index.resize_index(COUNT)
    index.add_items(vectors(COUNT), np.random.default_rng(0).permutation(COUNT) + 33, num_threads=2)
    return index


def all_equal() -> Any:
    index = index_of(0)
    index.resize_index(COUNT)
    index.add_items(np.ones((COUNT, DIM), np.float32), np.arange(COUNT), num_threads=1)
    return index


SOUND: dict[str, Callable[[], Any]] = {
    'empty': lambda: index_of(0),
    'one element': lambda: index_of(1),
    'two elements': lambda: index_of(2),
    'several levels': index_of,
    'grown': grown,
    'updated': updated,
    'replaced': replaced,
    'labels in any order, two threads': out_of_order,
    'equal vectors': all_equal,
}


@pytest.mark.parametrize('kind', SOUND)
def test_what_hnswlib_writes_is_sound(kind: str, tmp_path: Path) -> None:
    """A file of hnswlib's own, of whatever history, is not refused."""
    SOUND[kind]().save_index(str(tmp_path / 'g'))
    assert found_in(tmp_path / 'g') is None


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
@pytest.mark.parametrize(('M', 'dim', 'count'), [(2, 1, 500), (3, 4, 500), (5, 2, 300), (16, 33, 400), (48, 8, 200)])
def test_sound_with_any_settings(M: int, dim: int, count: int, space: Any, tmp_path: Path) -> None:
    """Neither space nor M nor the length of the vectors makes a sound file look wrong."""
    settings = VectorSettings(dim=dim, M=M, space=space, ef_construction=10)
    for seed in range(3):
        index_of(count, settings, seed).save_index(str(tmp_path / 'g'))
        assert found_in(tmp_path / 'g', settings, count) is None


def test_what_our_graph_writes_is_sound(tmp_path: Path) -> None:
    """A graph that grew from four places, with twins and deletions, is accepted in each of its states."""
    settings = VectorSettings(dim=DIM, max_elements=4, space='cosine')
    graph, known = Graph(settings), np.concatenate([vectors(40), vectors(40)])
    for start in range(0, 80, 5):
        labels = np.arange(start, start + 5)
        graph.add(labels, known[labels], lambda some: known[some], lambda label: True)
        graph.save(tmp_path / 'g')
        assert found_in(tmp_path / 'g', settings, start + 5) is None
    for label in range(0, 80, 2):
        graph.bury(label)
    graph.save(tmp_path / 'g')
    assert found_in(tmp_path / 'g', settings, 80) is None


def test_more_room_than_needed(tmp_path: Path) -> None:
    """Room for some millions is believed if the settings say so, and room for a million in any case."""
    for room, settings in ((1 << 20, SETTINGS), (3_000_000, VectorSettings(DIM, M=M, max_elements=3_000_000))):
        index = hnswlib.Index('l2', DIM)
        index.init_index(room, M=M, ef_construction=settings.ef_construction)
        index.add_items(vectors(3), np.arange(3))
        index.save_index(str(tmp_path / 'g'))
        assert found_in(tmp_path / 'g', settings, 3) is None


@pytest.mark.parametrize('labels', [[0], [1, 2, 3], list(range(COUNT))], ids=len)
def test_a_deletion_mark_is_refused(labels: list[int], tmp_path: Path) -> None:
    """A file in which elements are marked as deleted is none of ours, and hnswlib can crash on it."""
    with_deletions(COUNT, *labels).save_index(str(tmp_path / 'g'))
    assert defect(tmp_path / 'g', SETTINGS, COUNT) == 'has an element that is marked deleted'


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """What the system says about a file is an OSError, not a defect."""
    with pytest.raises(FileNotFoundError):
        defect(tmp_path / 'g', SETTINGS, 1)


# -- lies ----------------------------------------------------------------------------------------


class GraphFile:
    """The bytes of a graph file, and where in them what is."""

    def __init__(self, path: Path, M: int = M, dim: int = DIM) -> None:
        self.bytes = bytearray(path.read_bytes())
        self.M = M
        self.dim = dim
        self.record = 4 + 8 * M + 4 * dim + 8
        self.count: int = self.get(16, 'Q')
        self.max_level: int = self.get(48, 'i')
        self.entry: int = self.get(52)
        self.elements_end = 96 + self.count * self.record
        self.upper: list[int] = []
        self.sizes: list[int] = []
        at = self.elements_end
        for _ in range(self.count):
            self.upper.append(at)
            self.sizes.append(self.get(at))
            at += 4 + self.get(at)

    def get(self, at: int, kind: str = 'I') -> Any:
        return struct.unpack_from(f'={kind}', self.bytes, at)[0]

    def put(self, at: int, value: Any, kind: str = 'I') -> None:
        struct.pack_into(f'={kind}', self.bytes, at, value)

    def element(self, number: int) -> int:
        return 96 + number * self.record

    def vector(self, number: int) -> int:
        return self.element(number) + 4 + 8 * self.M

    def label(self, number: int) -> int:
        return self.element(number + 1) - 8

    def level(self, number: int) -> int:
        return self.sizes[number] // (4 + 4 * self.M)

    def links(self, number: int, level: int) -> int:
        return self.upper[number] + 4 + (level - 1) * (4 + 4 * self.M)

    def one_on(self, level: int) -> int:
        """Return an element whose highest level this is, but for the entry point."""
        return next(number for number in range(self.count) if self.level(number) == level and number != self.entry)


Change = Callable[[GraphFile], object]


def header(at: int, value: Any, kind: str = 'Q') -> Change:
    return lambda file: file.put(at, value, kind)


def level0(offset: int, value: int, number: int = 7) -> Change:
    return lambda file: file.put(file.element(number) + offset, value)


def vector(value: float) -> Change:
    return lambda file: file.put(file.vector(COUNT - 1) + 4 * DIM - 4, value, 'f')


def upper(offset: int, value: int, level: int = 1) -> Change:
    return lambda file: file.put(file.links(file.one_on(level), level) + offset, value)


def bytes_at_end(count: int) -> Change:
    def change(file: GraphFile) -> None:
        file.bytes = file.bytes + bytes(count) if count > 0 else file.bytes[:count]

    return change


def cut(at: int) -> Change:
    return lambda file: file.bytes.__delitem__(slice(at, None))


def a_label_twice(file: GraphFile) -> None:
    file.put(file.label(3), file.get(file.label(200), 'Q'), 'Q')


def an_element_above_all(file: GraphFile) -> None:
    at = file.upper[file.one_on(0)]
    levels = file.max_level + 1
    file.put(at, levels * (4 + 4 * M))
    file.bytes[at + 4 : at + 4] = bytes(levels * (4 + 4 * M))


def a_level_less(file: GraphFile) -> None:
    at = file.upper[file.one_on(1)]
    file.put(at, 0)
    del file.bytes[at + 4 : at + 8 + 4 * M]


def a_half_level(file: GraphFile) -> None:
    at = file.upper[file.one_on(1)]
    file.put(at, 2 * M)
    del file.bytes[at + 4 + 2 * M : at + 8 + 4 * M]


def an_element_too_many_above(file: GraphFile) -> None:
    """Take a level away and leave its place filled with elements on level 0."""
    at = file.upper[file.one_on(1)]
    file.bytes[at : at + 8 + 4 * M] = bytes(8 + 4 * M)


def a_link_out_of_the_level(file: GraphFile) -> None:
    at = file.links(file.one_on(2), 2)
    file.put(at, 1)
    file.put(at + 4, file.one_on(1))


def an_entry_below(file: GraphFile) -> None:
    file.put(52, file.one_on(1))


def the_last_list_too_long(file: GraphFile) -> None:
    file.put(file.upper[-1], 100 * (4 + 4 * M))


LIES: list[tuple[str, Change, str]] = [
    # the header
    ('level 0 starts elsewhere', header(0, 8), 'offset_level0 is 8'),
    ('room for fewer than there are', header(8, COUNT - 1), 'room for 299'),
    ('room that is not in any memory', header(8, 1 << 60), 'room for 1,152,921,504,606,846,976'),
    ('room for more than hnswlib can count', header(8, 1 << 31), 'room for'),
    ('no elements, but an entry point', header(16, 0), 'entry point, and no elements'),
    ('one element more', header(16, COUNT + 1), 'more than 8 links, or with unknown flags'),
    ('one element less', header(16, COUNT - 1), 'a link to an element that is not there'),
    ('as many elements as nothing has labels for', header(16, 1 << 63), 'of 350 labels'),
    ('elements of another size', header(24, 4), 'size_data_per_element is 4'),
    ('labels elsewhere', header(32, 1 << 40), 'label_offset'),
    ('vectors elsewhere', header(40, 0), 'offset_data'),
    ('no levels', header(48, -1, 'i'), 'max_level is -1'),
    ('a level that nobody is on', header(48, 20, 'i'), 'entry point that is not on level 20'),
    ('a level less than there are', header(48, 1, 'i'), 'entry point that is not on level 1'),
    ('two thousand million levels', header(48, (1 << 31) - 1, 'i'), 'max_level is'),
    ('a level too unlikely', header(48, 33, 'i'), 'max_level is 33'),
    ('an entry point beyond the last element', header(52, COUNT, 'I'), 'entry point is element 300 of 300'),
    ('no entry point', header(52, NOWHERE, 'I'), 'entry point is element'),
    ('an entry point that is not on the highest level', an_entry_below, 'entry point that is not on level'),
    ('more links above level 0', header(56, 5), 'max_links is 5'),
    ('more links on level 0', header(64, 9), 'max_links0 is 9'),
    ('more links for new elements', header(72, 1 << 40), 'M is 1,099,511,627,776'),
    ('levels without end for new elements', header(80, 1e300, 'd'), 'mult'),
    ('levels that are no number', header(80, float('nan'), 'd'), 'mult is nan'),
    ('no candidates', header(88, 0), 'ef_construction is 0, not 20'),
    ('more candidates than memory', header(88, 1 << 62), 'ef_construction'),
    # the length
    ('nothing', cut(0), 'ends too early'),
    ('half a header', cut(50), 'ends too early'),
    ('just a header', cut(96), 'too few'),
    ('cut within the elements', cut(96 + 1000), 'too few'),
    ('a byte short', bytes_at_end(-1), 'ends within a number'),
    ('a byte more', bytes_at_end(1), 'ends within a number'),
    ('a number short', bytes_at_end(-4), 'more or fewer than 300|ends within the links'),
    ('a number more', bytes_at_end(4), 'more or fewer than 300'),
    ('ten megabytes more', bytes_at_end(10**7), 'too many'),
    # level 0
    ('a link more than there is place for', level0(0, 2 * M + 1), 'more than 8 links'),
    ('as many links as can be counted', level0(0, 0xFFFF), 'more than 8 links'),
    ('a flag that hnswlib does not know', level0(0, 2 << 16), 'unknown flags'),
    ('a number of links in four bytes', level0(0, 1 << 24), 'unknown flags'),
    ('a link beyond the last element', level0(4, COUNT), 'link to an element that is not there'),
    ('a link to nowhere', level0(4, NOWHERE, COUNT - 1), 'link to an element that is not there'),
    ('a link in an unused place', level0(4 + 4 * (2 * M - 1), 1 << 31), 'link to an element that is not there'),
    ('a number that is none', vector(float('nan')), 'NaN or infinity'),
    ('a negative number that is none', vector(-float('nan')), 'NaN or infinity'),
    ('infinity', vector(float('inf')), 'NaN or infinity'),
    ('minus infinity', vector(-float('inf')), 'NaN or infinity'),
    ('a label twice', a_label_twice, 'two elements with one label'),
    ('a label that was not given yet', lambda file: file.put(file.label(9), 350, 'Q'), 'label 350, and there are 350'),
    ('a negative label', lambda file: file.put(file.label(9), -1, 'q'), 'has the label 18,446,744,073,709,551,615'),
    # the levels above
    ('a level more, without its links', lambda file: file.put(file.upper[file.one_on(0)], 4 + 4 * M), 'fewer than 300'),
    ('a level more than anyone has', an_element_above_all, 'above level'),
    ('a part of a level', a_half_level, 'a part of a level'),
    ('a level that others link to taken away', a_level_less, 'on level 1 to an element that is not on it'),
    ('elements in the place of links', an_element_too_many_above, 'more or fewer than 300'),
    ('links beyond the end', the_last_list_too_long, 'ends within the links'),
    ('a link more than there is place for above', upper(0, M + 1), 'more than 4 links on level 1'),
    ('a deletion mark above level 0', upper(0, 1 << 16 | 1), 'more than 4 links on level 1'),
    ('a link beyond the last element above', upper(4, COUNT), 'link on level 1 to an element that is not there'),
    ('a link to nowhere above', upper(4, NOWHERE, 2), 'link on level 2 to an element that is not there'),
    ('a link to an element that is not on the level', a_link_out_of_the_level, 'level 2 to an element that is not on'),
    ('a deletion mark', level0(0, 1 << 16 | 1), 'marked deleted'),
]


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file with several levels."""
    path = tmp_path_factory.mktemp('sound') / 'g'
    index_of().save_index(str(path))
    assert found_in(path) is None
    return path


@pytest.mark.parametrize(('change', 'words'), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_lie_is_found(change: Change, words: str, sound: Path, tmp_path: Path) -> None:
    """A file that says what is not so is refused, in words that say where."""
    file = GraphFile(sound)
    change(file)
    (tmp_path / 'g').write_bytes(file.bytes)
    found = found_in(tmp_path / 'g')
    assert found is not None
    assert re.search(words, found), found


HARMLESS: dict[str, Change] = {
    'a link to oneself': level0(4, 7),
    'a link to oneself above': lambda file: file.put(file.links(file.one_on(1), 1) + 4, file.one_on(1)),
    'one link twice': lambda file: file.put(file.element(7) + 8, file.get(file.element(7) + 4)),
    'fewer links': level0(0, 1),
    'no links': level0(0, 0),
    'another link': level0(4, 200),
    'another vector': vector(-17.5),
    'minus zero': vector(-0.0),
    'the largest number': vector(-3.4028234e38),
    'another label': lambda file: file.put(file.label(9), 349, 'Q'),
    'a last bit that another C library has': lambda file: file.put(80, np.nextafter(file.get(80, 'd'), 2), 'd'),
}


@pytest.mark.parametrize('kind', HARMLESS)
def test_what_does_no_harm_is_let_pass(kind: str, sound: Path, tmp_path: Path) -> None:
    """What hnswlib would not write, but takes without harm, is not refused."""
    file = GraphFile(sound)
    HARMLESS[kind](file)
    (tmp_path / 'g').write_bytes(file.bytes)
    assert found_in(tmp_path / 'g') is None


@pytest.mark.parametrize('other', [{'dim': 6}, {'M': 5}, {'M': 3}, {'ef_construction': 21}], ids=str)
def test_other_settings_are_a_lie_too(other: dict[str, Any], sound: Path) -> None:
    """A sound file of a graph with other settings is refused."""
    assert defect(sound, SETTINGS.changed(other, 'test'), COUNT + 50)


# -- chance --------------------------------------------------------------------------------------

USE = """
import sys, hnswlib, numpy as np
from pathlib import Path
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    dim = int(path.name.split('-')[1])
    random = np.random.default_rng(1)
    index = hnswlib.Index('l2', dim)
    index.load_index(str(path), max_elements=0, allow_replace_deleted=True)
    def search():
        for ef, k in ((1, 1), (30, 3), (500, 50)):
            index.set_ef(ef)
            for query in random.normal(size=(6, dim)).astype(np.float32):
                try:
                    index.knn_query(query, k=k, num_threads=1)
                except RuntimeError as error:
                    assert 'Cannot return the results' in str(error), error
    def add(labels):
        vectors = random.normal(size=(len(labels), dim)).astype(np.float32)
        index.add_items(vectors, labels, num_threads=1)
    search()
    index.resize_index(index.max_elements + 200)
    add(np.arange(10_000, 10_150))
    add(index.get_ids_list())
    search()
print('survived')
"""


def numbers_to_try(random: np.random.Generator, count: int) -> int:
    """Return a number of the kinds that are mistaken for something, in 32 bits."""
    odd = [0, 1, 2, max(1, count) - 1, count, count + 1, 0xFFFF, 1 << 16, 1 << 17, 0x7F800000, 1 << 31, NOWHERE]
    kind = random.integers(3)
    return int(random.choice(odd)) if not kind else int(random.integers(max(1, count) if kind == 1 else 1 << 32))


def mutate(file: GraphFile, random: np.random.Generator) -> None:
    """Change one thing that hnswlib goes by."""
    number = int(random.integers(max(1, file.count)))
    value = numbers_to_try(random, file.count)
    links = 2 * file.M
    kind = random.integers(12) if file.count else random.choice([0, 1, 9])
    if kind == 0:
        file.put(4 * int(random.integers(24)), value)
    elif kind == 1:
        file.bytes[int(random.integers(96))] ^= 1 << int(random.integers(8))
    elif kind == 2:
        file.put(file.element(number), value % (links + 3) | (int(random.integers(3)) << 16))
    elif kind in (3, 4):
        file.put(file.element(number) + 4 + 4 * int(random.integers(links)), value)
    elif kind == 5:
        file.put(file.label(number), value % (file.count + 3) if random.integers(2) else value)
    elif kind == 6:
        file.put(file.vector(number), value)
    elif kind == 7:
        at = file.elements_end + int(random.integers(max(1, len(file.bytes) - file.elements_end - 3)))
        file.put(min(at - at % 4, len(file.bytes) - 4), value)
    elif kind == 8:
        upper = [number for number in range(file.count) if file.level(number)]
        if upper:
            number = int(random.choice(upper))
            at = file.links(number, int(random.integers(1, file.level(number) + 1)))
            file.put(at + 4 * int(random.integers(file.M + 1)), int(random.choice([*upper, value, 1, 2])))
    elif kind == 9:
        end = int(random.integers(len(file.bytes) + 1))
        file.bytes = file.bytes[:end] if random.integers(2) else file.bytes + bytes(4 * int(random.integers(9)))
    elif kind == 10:
        other = int(random.integers(file.count))
        one, two = (slice(file.upper[n], file.upper[n] + 4 + file.sizes[n]) for n in sorted((number, other)))
        if one != two:
            between = file.bytes[one.stop : two.start]
            file.bytes[one.start : two.stop] = file.bytes[two] + between + file.bytes[one]
    else:
        file.put(52, value if random.integers(2) else number)


BASES = [(5, 4, 300), (3, 2, 60), (3, 16, 400), (1, 3, 12), (2, 4, 1), (2, 4, 0)]
"""dim, M and count of the files that are mutated."""


def mutant(base: Path, dim: int, links: int, random: np.random.Generator) -> bytes:
    """Return a file in which up to three things are changed."""
    file = GraphFile(base, links, dim)
    size = len(file.bytes)
    for _ in range(int(random.integers(1, 4))):
        if len(file.bytes) == size:  # or what is where is no longer known
            mutate(file, random)
    return bytes(file.bytes)


def invention(dim: int, links: int, random: np.random.Generator) -> bytes:
    """Return a file in which all that points somewhere does, no matter how: any levels, links, vectors."""
    count = int(random.integers(1, 80))
    levels = np.minimum(random.geometric(random.choice([0.2, 0.7, 1.0]), count) - 1, 8)
    numbers = [0, -1, 1e-38, 3e38, -3e38, *random.normal(size=20)]
    labels = random.permutation(count)
    levels_of_all, entry = links * 4 + 4, int(random.choice(np.flatnonzero(levels == levels.max())))

    def list_among(others: Any, places: int) -> bytes:
        used = int(random.integers(places + 1))
        return struct.pack('=I', used) + random.choice(others, places).astype(np.uint32).tobytes()

    sizes = (0, count, count, 4 + 8 * links + 4 * dim + 8, 4 + 8 * links + 4 * dim, 4 + 8 * links)
    mult = 1 / np.log(links)
    parts = [struct.pack('=6QiI3QdQ', *sizes, levels.max(), entry, links, 2 * links, links, mult, 20)]
    for label in labels:
        vector = random.choice(numbers, dim).astype(np.float32)
        parts += [list_among(np.arange(count), 2 * links), vector.tobytes(), struct.pack('=Q', label)]
    for level in levels:
        parts.append(struct.pack('=I', level * levels_of_all))
        parts += [list_among(np.flatnonzero(levels >= above), links) for above in range(1, level + 1)]
    return b''.join(parts)


@pytest.mark.parametrize('batch', range(BATCHES))
@pytest.mark.parametrize('kind', ['mutants', 'inventions'])
def test_what_is_not_refused_survives(kind: str, batch: int, tmp_path: Path) -> None:
    """Of files made at random each is refused, or hnswlib searches it, and adds to it unharmed."""
    random, accepted = np.random.default_rng(batch), tmp_path / 'accepted'
    accepted.mkdir()
    for number in range(FILES):
        dim, links, count = BASES[number % len(BASES) if number % 2 else 0]
        settings = VectorSettings(dim=dim, M=links, ef_construction=20)
        base, path = tmp_path / f'{dim}-{links}-{count}', accepted / f'{number:04}-{dim}'
        if not base.exists():
            index_of(count, settings).save_index(str(base))
        is_mutant = kind == 'mutants'
        path.write_bytes(mutant(base, dim, links, random) if is_mutant else invention(dim, links, random))
        if found_in(path, settings, max(80, count + 2)) is not None:
            path.unlink()
    most = FILES * 0.92 if kind == 'mutants' else FILES  # an invention breaks no rule
    assert FILES * 0.08 < len(list(accepted.iterdir())) <= most
    child = run(USE, accepted)
    assert child.stdout.endswith('survived\n'), (child.returncode, child.stdout[-30:], child.stderr[-2000:])
