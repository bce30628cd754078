"""
What a url or path names, as bytes, pictures and sound: never more than is allowed, from the network only if asked.

Reading trusts nobody: a file must be a regular one, a server cannot send without end or redirect to a file, and a
picture is measured before it is unpacked.
"""

from __future__ import annotations

import io
import stat
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.parse import urlsplit

import numpy as np

from ._optional import optional
from .errors import QueryError, UrlError
from .frameworks import Array

if TYPE_CHECKING:
    from PIL.Image import Image as Image

# Not all that Pillow knows: of some formats it lets other programs make a picture (EPS, by Ghostscript).
_PICTURES = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM', 'TGA', 'ICO', 'AVIF', 'JPEG2000')


def read(url: str, max_bytes: int, allow_network: bool, timeout: float) -> bytes:
    """
    Return the content of a local file, a `file://` url or, with `allow_network`, of an `http(s)://` url.

    Raises:
        UrlError: it is not there, is larger than `max_bytes`, took longer than `timeout` seconds, or the network is
            needed and was not allowed.
    """
    scheme, _, rest = url.partition('://')
    scheme = scheme.lower() if rest else ''
    if scheme in ('', 'file'):
        return _read_file(url, _path(url) if scheme else Path(url), max_bytes)
    if scheme not in ('http', 'https'):
        raise UrlError(f'cannot load {url!r}: only paths, file://, http:// and https:// are known here')
    if not allow_network:
        raise UrlError(f'cannot load {url!r}: that needs the network; pass allow_network=True if it may be used')
    return _read_network(url, max_bytes, timeout)


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ('', 'localhost'):
        raise UrlError(f'cannot load {url!r}: it names a file on {parts.netloc}; a local one is file:///path')
    return Path(request.url2pathname(parts.path))


def _read_file(url: str, path: Path, max_bytes: int) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting, a device may never end
            raise UrlError(f'cannot load {url!r}: it is not a file')
        with path.open('rb') as file:
            data = file.read(max_bytes + 1)
    except UrlError:
        raise
    except (OSError, ValueError) as error:
        where = '' if path.is_absolute() else f' (relative paths begin at {Path.cwd()})'
        raise UrlError(f'cannot load {url!r}: {getattr(error, "strerror", None) or error}{where}') from error
    if len(data) > max_bytes:
        raise _too_large(url, max_bytes)
    return data


class _WebOnly(request.HTTPRedirectHandler):
    """Follows redirects to http and https, and to nothing else."""

    def redirect_request(self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme.lower() not in ('http', 'https'):
            raise UrlError(f'cannot load {req.full_url!r}: it redirects to {newurl!r}, which is not on the web')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> request.OpenerDirector:
    # Not build_opener(), which adds handlers for files and ftp.
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        _WebOnly,
    ):
        opener.add_handler(handler())
    return opener


def _read_network(url: str, max_bytes: int, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    parts: list[bytes] = []
    read = 0
    try:
        with _opener().open(request.Request(url, headers={'User-Agent': 'docindex'}), timeout=timeout) as response:
            if int(response.headers.get('Content-Length') or 0) > max_bytes:
                raise _too_large(url, max_bytes)
            # One piece as it comes, so that a server that drips cannot take longer, nor send more, than it may.
            while part := response.read1(1 << 16):
                parts.append(part)
                read += len(part)
                if read > max_bytes:
                    raise _too_large(url, max_bytes)
                if time.monotonic() > deadline:
                    raise UrlError(f'cannot load {url!r}: it took longer than {timeout:g} s; timeout=... allows more')
            if response.length:
                raise UrlError(f'cannot load {url!r}: the server ended {response.length:,} bytes too early')
    except UrlError:
        raise
    except Exception as error:  # whatever urllib, http.client, ssl and socket make of what a server says
        raise UrlError(f'cannot load {url!r}: {error}') from error
    return b''.join(parts)


def _too_large(url: str, max_bytes: int) -> UrlError:
    return UrlError(f'cannot load {url!r}: it has more than {max_bytes:,} bytes; max_bytes=... allows more')


def picture(data: bytes, name: str, max_pixels: int) -> Image:
    """
    Return a picture as Pillow has it, unpacked; the first one of several.

    Raises:
        UrlError: it is damaged, of a format that is not read here, or has more than `max_pixels`.
        MissingLibraryError: Pillow is not installed.
    """
    pillow = optional('PIL.Image', 'images', 'pictures', 'Pillow')
    pillow.init()
    try:
        image: Image = pillow.open(io.BytesIO(data), formats=[kind for kind in _PICTURES if kind in pillow.OPEN])
        if image.width * image.height > max_pixels:
            size = f'{image.width:,} x {image.height:,} pixels'
            raise UrlError(f'cannot load {name!r}: it has {size}; max_pixels=... allows more than {max_pixels:,}')
        image.load()
    except UrlError:
        raise
    except Exception as error:  # each of Pillow's decoders has errors of its own
        raise UrlError(f'cannot load {name!r} as a picture: {error}') from error
    return image


def pixels(image: Image, width: int | None, height: int | None, axis_layout: Sequence[str]) -> Array:
    """
    Return a picture as red, green and blue from 0 to 255, in a uint8 array.

    Args:
        image: The picture.
        width: What to scale it to; None: as it is.
        height: Likewise.
        axis_layout: The order of the axes: 'H' is height, 'W' width, 'C' the three colours.
    """
    if sorted(axis_layout) != ['C', 'H', 'W']:
        raise QueryError(f"axis_layout has 'H', 'W' and 'C' once each, got {axis_layout!r}")
    image = image.convert('RGB')
    if width is not None or height is not None:
        image = image.resize((width or image.width, height or image.height))
    array = np.array(image)
    return np.ascontiguousarray(array.transpose(['HWC'.index(axis) for axis in axis_layout]))


def samples(data: bytes, name: str) -> tuple[Array, int]:
    """
    Return the samples of a WAVE file and its frame rate.

    Returns:
        float32 from -1 to 1, of shape (frames,), or (frames, channels) if there are several; and the frames a second.

    Raises:
        UrlError: it is no WAVE file, or a compressed one.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            frames = np.frombuffer(file.readframes(file.getnframes()), np.uint8)
    except (wave.Error, EOFError, ValueError) as error:
        hint = 'only uncompressed WAVE files are read here; load_bytes() gives the bytes for another library'
        raise UrlError(f'cannot load {name!r} as sound: {error or "it ends too early"}; {hint}') from error
    whole = frames[: len(frames) // (width * channels) * width * channels].reshape(-1, width)
    if width == 1:  # the only width without a sign
        numbers = whole[:, 0].astype(np.float32) - 128
    else:
        # The bytes of a sample become the upper ones of an integer of four.
        wide = np.zeros((len(whole), 4), np.uint8)
        wide[:, 4 - width :] = whole
        numbers = wide.view('<i4')[:, 0].astype(np.float64) / (1 << 8 * (4 - width))
    scaled = (numbers / (1 << 8 * width - 1)).astype(np.float32)
    return scaled if channels == 1 else scaled.reshape(-1, channels), rate
