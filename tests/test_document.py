from functools import cached_property
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from docindex import AnyUrl, AudioUrl, BaseDoc, ImageUrl, NdArray, TextUrl, VideoUrl
from docindex.document import equal_values

NAN = float('nan')


class Image(BaseDoc):
    tensor: NdArray | None = None
    title: str = ''


class Film(BaseDoc):
    poster: Image | None = None
    images: tuple[Image, ...] = ()


class Shape(BaseModel):
    corners: NdArray


class Drawing(BaseDoc):
    shape: Shape


class Urls(BaseModel):
    any: AnyUrl = AnyUrl('x')
    image: ImageUrl = ImageUrl('x')
    video: VideoUrl = VideoUrl('x')
    audio: AudioUrl = AudioUrl('x')
    text: TextUrl = TextUrl('x')


def test_ids_are_fresh() -> None:
    """A document without an id gets one of 32 hexadecimal digits that no other has."""
    ids = {BaseDoc().id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(id_) == 32 and set(id_) <= set('0123456789abcdef') for id_ in ids)


@pytest.mark.parametrize('id_', [5, None, b'a', 1.5, ['a'], ''], ids=repr)
def test_an_id_is_a_string_that_is_not_empty(id_: Any) -> None:
    """Nothing else becomes an id, and nothing is turned into a string on the way."""
    with pytest.raises(ValidationError, match='id'):
        BaseDoc(id=id_)


def test_assignments_are_checked() -> None:
    """A document stays valid when its fields change."""
    doc = Image(title='a')
    with pytest.raises(ValidationError):
        doc.title = 5  # type: ignore[assignment]
    doc.tensor = [1, 2]  # type: ignore[assignment]
    assert isinstance(doc.tensor, np.ndarray)


@pytest.mark.parametrize(
    ('left', 'right', 'is_equal'),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([1, 2], [1, 2, 3], False),
        ([1, NAN], [1, NAN], True),
        ([0.0], [-0.0], True),
        ([1], None, False),
        (None, None, True),
    ],
    ids=str,
)
def test_tensors_are_compared_as_a_whole(left: Any, right: Any, is_equal: bool) -> None:
    """Documents are equal if their tensors are, NaN equal to NaN; a missing tensor is no error."""
    one, other = Image(id='a', tensor=left), Image(id='a', tensor=right)
    assert (one == other) is is_equal
    assert (Film(id='f', poster=one, images=(one,)) == Film(id='f', poster=other, images=(other,))) is is_equal


def test_equality_looks_at_the_id_and_the_class() -> None:
    """Documents with another id, or of another class, are not equal."""

    class Other(BaseDoc):
        tensor: NdArray | None = None
        title: str = ''

    assert Image(id='a') != Image(id='b')
    assert Image(id='a') != Other(id='a')
    assert Image(id='a') != 'a'


def test_a_plain_model_with_a_tensor_can_be_compared() -> None:
    """A tensor in a pydantic model within a document does not make `==` fail."""
    drawing = Drawing(id='a', shape=Shape(corners=[1, 2]))
    assert drawing == Drawing(id='a', shape=Shape(corners=[1, 2]))
    assert drawing != Drawing(id='a', shape=Shape(corners=[1, 3]))


def test_extra_fields_count() -> None:
    """What `extra='allow'` let in takes part in equality."""

    class Open(BaseDoc):
        model_config = ConfigDict(extra='allow')

    assert Open(id='a', x=np.ones(2)) == Open(id='a', x=np.ones(2))  # type: ignore[call-arg]
    assert Open(id='a', x=1) != Open(id='a', x=2)  # type: ignore[call-arg]


def test_a_cached_property_does_not_change_a_document() -> None:
    """Looking at a cached property leaves a document equal to what it was."""

    class Doc(BaseDoc):
        title: str = ''

        @cached_property
        def shout(self) -> str:
            return self.title.upper()

    looked_at, other = Doc(id='a', title='x'), Doc(id='a', title='x')
    assert looked_at.shout == 'X'
    assert looked_at == other


def test_documents_are_not_hashable() -> None:
    """A document can change, so it is no key of a dict."""
    with pytest.raises(TypeError, match='unhashable'):
        hash(BaseDoc())


def test_a_repr_is_short() -> None:
    """A long vector appears in a repr as its shape and type; a short one in full."""
    assert repr(Image(id='a', tensor=np.zeros((10, 384), np.float32))) == (
        "Image(id='a', tensor=<10 x 384 float32>, title='')"
    )
    assert 'array([1, 2])' in repr(Image(tensor=[1, 2]))


@pytest.mark.parametrize(
    ('left', 'right', 'is_equal'),
    [
        ({'a': np.ones(2)}, {'a': np.ones(2)}, True),
        ({'a': np.ones(2)}, {'b': np.ones(2)}, False),
        ([1], (1,), False),
        ((np.ones(2), 1), (np.ones(2), 1), True),
        ([np.ones(2)], [np.ones(2), 1], False),
        (np.array([1]), np.array([1.0]), True),
        (np.array(['a']), np.array([NAN]), False),
        ({1, 2}, {2, 1}, True),
    ],
    ids=str,
)
def test_containers_are_looked_into(left: object, right: object, is_equal: bool) -> None:
    """Dicts, lists and tuples are compared item by item, arrays as a whole."""
    assert equal_values(left, right) is is_equal


@pytest.mark.parametrize(
    ('field', 'url'),
    [
        ('any', 'https://example.org/a?b=c#d'),
        ('any', 's3://bucket/key'),
        ('any', 'files/über uns.txt'),
        ('any', r'C:\Users\me\a.txt'),
        ('image', 'https://example.org/a.PNG?size=3'),
        ('image', '/tmp/a.jpg'),
        ('image', 'no-extension'),
        ('video', 'file:///a.mp4'),
        ('audio', 'a.mp3'),
        ('text', 'https://example.org/a.txt'),
        ('text', 'notes.json'),
    ],
)
def test_urls_are_strings(field: str, url: str) -> None:
    """A url, or a local path, of the right kind is taken as it is."""
    found = getattr(Urls.model_validate({field: url}), field)
    assert found == url
    assert isinstance(found, str)
    assert type(found) is Urls.model_fields[field].annotation


@pytest.mark.parametrize(
    ('field', 'url'),
    [
        ('any', ''),
        ('any', ' https://example.org'),
        ('any', 'https://example.org\n'),
        ('any', 'a\0b'),
        ('any', '://example.org'),
        ('any', '1http://x'),
        ('any', 'https://'),
        ('any', 'http:///'),
        ('any', 5),
        ('image', 'a.mp4'),
        ('video', 'https://example.org/a.png'),
        ('audio', 'a.txt'),
        ('text', 'a.jpg'),
    ],
)
def test_what_is_no_url_of_its_kind_is_refused(field: str, url: Any) -> None:
    """A url that cannot be one, or has the extension of other media, is refused with the field's name."""
    with pytest.raises(ValidationError, match=field):
        Urls.model_validate({field: url})
