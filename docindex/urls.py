"""The types of fields that name a file or a page: what they may be, and how to load what they name."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ._later import later
from .errors import UrlError
from .frameworks import Array

if TYPE_CHECKING:
    from typing import Self

    from .media import Image

MAX_BYTES = 64 << 20
"""How much is read unless a call says otherwise: 64 MiB."""
MAX_PIXELS = 50_000_000
"""How many pixels a picture may have unless a call says otherwise; unpacked they take three bytes each."""
TIMEOUT = 10.0
"""How many seconds the network may take unless a call says otherwise."""

_SCHEME = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://')


class AnyUrl(str):
    """
    A url, or the path of a local file: a non-empty string without blanks at its ends or control characters.

    The subclasses also refuse a file extension that belongs to another kind of media.

    Loading reads local files and `file://` urls, and `http(s)://` urls if `allow_network` says so; relative paths begin
    in the current directory. All of it takes:

    * `max_bytes`: how large the file may be, 64 MiB by default;
    * `allow_network`: whether the network may be used, not by default;
    * `timeout`: how many seconds that may take, 10 by default.

    and raises `UrlError` if there is nothing to load, or too much.
    """

    media: ClassVar[str | None] = None

    if not TYPE_CHECKING:
        # A type checker takes the plain string that a user writes, as pydantic does when it runs.
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            return core_schema.no_info_after_validator_function(
                cls._validate, core_schema.str_schema(strict=True, min_length=1)
            )

    @classmethod
    def _validate(cls, text: str) -> Self:
        if text != text.strip() or any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise PydanticCustomError('url', 'a url has no blanks at its ends and no control characters')
        scheme = _SCHEME.match(text)
        if '://' in text and not scheme:
            raise PydanticCustomError('url', "expected a url such as 'https://host/path' or a local path")
        if (
            scheme
            and scheme.group().lower() in ('http://', 'https://', 'ftp://')
            and not text[scheme.end() :].strip('/')
        ):
            raise PydanticCustomError('url', 'a url needs a host')
        found = mimetypes.guess_type(re.split('[?#]', text)[0])[0] if cls.media else None
        if found and found.partition('/')[0] not in (cls.media, 'application'):
            raise PydanticCustomError(
                'url_media', 'expected the url of {expected}, got {found}', {'expected': cls.media, 'found': found}
            )
        return cls(text)

    def load_bytes(self, *, max_bytes: int = MAX_BYTES, allow_network: bool = False, timeout: float = TIMEOUT) -> bytes:
        """Return the content of what the url names."""
        data: bytes = later('media').read(self, max_bytes, allow_network, timeout)
        return data


class ImageUrl(AnyUrl):
    """The url or path of an image."""

    media = 'image'

    def load(
        self,
        width: int | None = None,
        height: int | None = None,
        axis_layout: Sequence[str] = ('H', 'W', 'C'),
        *,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        allow_network: bool = False,
        timeout: float = TIMEOUT,
    ) -> Array:
        """
        Return the image as an array of red, green and blue: uint8, of shape (height, width, 3).

        Args:
            width: What to scale it to; None: as it is.
            height: Likewise.
            axis_layout: The order of the axes; ('C', 'H', 'W') is what torch's models want.
            max_bytes: See `AnyUrl`.
            max_pixels: How many pixels the image may have, 50 million by default: a small file can hold a huge image.
            allow_network: See `AnyUrl`.
            timeout: See `AnyUrl`.

        Raises:
            UrlError: there is no image, or one that is damaged, or too large.
            MissingLibraryError: Pillow is not installed; `pip install 'docindex-hnsw[images]'`.
        """
        limits: dict[str, Any] = {'max_bytes': max_bytes, 'allow_network': allow_network, 'timeout': timeout}
        image = self.load_pil(max_pixels=max_pixels, **limits)
        array: Array = later('media').pixels(image, width, height, axis_layout)
        return array

    def load_pil(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        allow_network: bool = False,
        timeout: float = TIMEOUT,
    ) -> Image:
        """Return the image as Pillow's, in the colours that it has; arguments and errors are those of `load`."""
        data = self.load_bytes(max_bytes=max_bytes, allow_network=allow_network, timeout=timeout)
        image: Image = later('media').picture(data, self, max_pixels)
        return image


class VideoUrl(AnyUrl):
    """The url or path of a video. `load_bytes` gives its bytes; what is in them is for a library that knows videos."""

    media = 'video'


class AudioUrl(AnyUrl):
    """The url or path of a sound file."""

    media = 'audio'

    def load(
        self, *, max_bytes: int = MAX_BYTES, allow_network: bool = False, timeout: float = TIMEOUT
    ) -> tuple[Array, int]:
        """
        Return the samples of a WAVE file, and its frame rate.

        Returns:
            float32 from -1 to 1, of shape (frames,), or (frames, channels) if there are several; and frames a second.

        Raises:
            UrlError: there is no WAVE file, or a compressed one.
        """
        data = self.load_bytes(max_bytes=max_bytes, allow_network=allow_network, timeout=timeout)
        sound: tuple[Array, int] = later('media').samples(data, self)
        return sound


class TextUrl(AnyUrl):
    """The url or path of a text."""

    media = 'text'

    def load(
        self,
        charset: str = 'utf-8',
        *,
        max_bytes: int = MAX_BYTES,
        allow_network: bool = False,
        timeout: float = TIMEOUT,
    ) -> str:
        """
        Return the text.

        Raises:
            UrlError: there is none, or not in that `charset`.
        """
        data = self.load_bytes(max_bytes=max_bytes, allow_network=allow_network, timeout=timeout)
        try:
            return data.decode(charset)
        except (UnicodeDecodeError, LookupError) as error:
            raise UrlError(f'cannot load {self!r} as text: {error}; give its charset, load("latin-1")') from error
