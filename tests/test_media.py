"""What urls name is loaded: files, pages from a server on this machine, pictures, sound, text. And refused."""

from __future__ import annotations

import io
import os
import socket
import struct
import sys
import threading
import time
import wave
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import AnyUrl, AudioUrl, ImageUrl, MissingLibraryError, QueryError, TextUrl, UrlError, VideoUrl

# -- files --------------------------------------------------------------------------------------------------------


def test_a_file_by_path_and_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is loaded by its path, a relative one from the current directory, and by its file:// url."""
    path = tmp_path / 'a boat.txt'
    path.write_bytes(b'\xc3\xa4')
    monkeypatch.chdir(tmp_path)
    for url in (str(path), 'a boat.txt', path.as_uri(), path.as_uri().replace('file://', 'FILE://localhost')):
        assert AnyUrl(url).load_bytes() == b'\xc3\xa4'
        assert TextUrl(url).load() == 'ä'
    assert VideoUrl(path).load_bytes() == b'\xc3\xa4'
    assert TextUrl(path).load('latin-1') == 'Ã¤'


def test_a_file_may_be_as_large_as_said(tmp_path: Path) -> None:
    """A file of `max_bytes` is loaded, and one that is larger by a byte is refused without reading on."""
    path = tmp_path / 'file.txt'
    path.write_bytes(b'x' * 100)
    assert len(AnyUrl(path).load_bytes(max_bytes=100)) == 100
    with pytest.raises(UrlError, match=r'more than 99 bytes; max_bytes='):
        TextUrl(path).load(max_bytes=99)


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, a directory, a pipe, an endless device, or on another machine is a `UrlError` that says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UrlError, match=f'No such file.*relative paths begin at {tmp_path}'):
        AnyUrl('missing.txt').load_bytes()
    if hasattr(os, 'mkfifo'):
        os.mkfifo(tmp_path / 'pipe')
    for name in ('.', *(['pipe', '/dev/zero'] if hasattr(os, 'mkfifo') else [])):
        with pytest.raises(UrlError, match='not a file'):
            AnyUrl(name).load_bytes()
    with pytest.raises(UrlError, match='a file on elsewhere'):
        AnyUrl('file://elsewhere/etc/passwd').load_bytes()
    with pytest.raises(UrlError, match='null byte'):
        AnyUrl('a\0b').load_bytes()


@pytest.mark.parametrize('url', ['ftp://host/file', 's3://bucket/file', 'data://text/plain,x'])
def test_other_schemes_are_refused(url: str) -> None:
    """Only files and the web are read, with the network allowed too."""
    with pytest.raises(UrlError, match='only paths, file://, http:// and https:// are known'):
        AnyUrl(url).load_bytes(allow_network=True)


def test_a_text_in_another_charset_is_refused(tmp_path: Path) -> None:
    """Bytes that are not of the charset are a `UrlError` that says how to give another."""
    (tmp_path / 'file.txt').write_bytes(b'\xff')
    with pytest.raises(UrlError, match=r'load\("latin-1"\)'):
        TextUrl(tmp_path / 'file.txt').load()
    with pytest.raises(UrlError, match='unknown encoding'):
        TextUrl(tmp_path / 'file.txt').load('no-such')


# -- the network ----------------------------------------------------------------------------------------------------


class Page(BaseHTTPRequestHandler):
    """Answers each path with what a server could do."""

    def do_GET(self) -> None:
        answers = {
            '/page.txt': self.page,
            '/endless': self.endless,
            '/slow': self.slow,
            '/short': self.short,
            '/announced': self.announced,
        }
        if self.path.startswith('/to/'):
            self.send_response(302)
            self.send_header('Location', self.path.removeprefix('/to/'))
            self.end_headers()
        elif self.path in answers:
            self.send_response(200)
            answers[self.path]()
        else:
            self.send_error(404)

    def page(self) -> None:
        self.send_header('Content-Length', '5')
        self.end_headers()
        self.wfile.write(b'hello')

    def endless(self) -> None:
        self.end_headers()
        self.go_on(b'x' * (1 << 16), 0)

    def slow(self) -> None:
        self.end_headers()
        self.go_on(b'x', 0.02)

    def go_on(self, piece: bytes, pause: float) -> None:
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            self.close_connection = True  # the reader has gone, as it should

    def short(self) -> None:
        self.send_header('Content-Length', '50')
        self.end_headers()
        self.wfile.write(b'hello')

    def announced(self) -> None:
        self.send_header('Content-Length', str(1 << 40))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The url of a server on this machine."""
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(('127.0.0.1', 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_a_page_is_loaded_if_asked(web: str) -> None:
    """A page is loaded with `allow_network=True`, over redirects too, and only then."""
    assert TextUrl(f'{web}/page.txt').load(allow_network=True) == 'hello'
    assert AnyUrl(f'{web}/to/{web}/page.txt').load_bytes(allow_network=True, max_bytes=5) == b'hello'
    with pytest.raises(UrlError, match='allow_network=True'):
        TextUrl(f'{web}/page.txt').load()


def test_no_socket_is_opened_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `allow_network` nothing of the network is touched, whatever the url."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError('a socket was opened')

    monkeypatch.setattr(socket, 'socket', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    for url in ('http://localhost/x', 'HTTPS://localhost/x', 'ftp://localhost/x', 'file://localhost/missing'):
        with pytest.raises(UrlError):
            AnyUrl(url).load_bytes()


def test_the_limit_holds_while_reading(web: str) -> None:
    """A server that sends without end, or says that it will, is left at `max_bytes`."""
    for path in ('endless', 'announced'):
        with pytest.raises(UrlError, match='more than 100,000 bytes'):
            AnyUrl(f'{web}/{path}').load_bytes(allow_network=True, max_bytes=100_000)


def test_a_server_that_drips_is_left(web: str) -> None:
    """A server that sends a byte now and then is left after `timeout` seconds in total."""
    with pytest.raises(UrlError, match=r'longer than 0\.2 s'):
        AnyUrl(f'{web}/slow').load_bytes(allow_network=True, timeout=0.2)


def test_an_answer_that_breaks_off_is_refused(web: str) -> None:
    """Half a page is not taken for a page."""
    with pytest.raises(UrlError, match=r'45 bytes too early|IncompleteRead'):
        AnyUrl(f'{web}/short').load_bytes(allow_network=True)


@pytest.mark.parametrize('target', ['file:///etc/passwd', 'ftp://host/file', 'data:text/plain,x'])
def test_a_redirect_leads_nowhere_but_to_the_web(web: str, target: str) -> None:
    """A server cannot redirect a reader to a file on its own machine."""
    with pytest.raises(UrlError, match=r'not on the web|is not allowed'):
        AnyUrl(f'{web}/to/{target}').load_bytes(allow_network=True)


def test_what_the_server_says_is_passed_on(web: str) -> None:
    """A page that is not there, and a server that is not there, are `UrlError`s with the reason."""
    with pytest.raises(UrlError, match='404'):
        AnyUrl(f'{web}/missing').load_bytes(allow_network=True)
    with pytest.raises(UrlError, match='refused'):
        AnyUrl('http://127.0.0.1:9/x').load_bytes(allow_network=True, timeout=1)


# -- pictures ---------------------------------------------------------------------------------------------------------

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of two rows and three columns."""
    image = pytest.importorskip('PIL.Image')
    path = tmp_path / 'flag.png'
    image.fromarray(np.array([[RED, GREEN, BLUE], [BLUE, GREEN, RED]], np.uint8)).save(path)
    return path


def test_a_picture_is_its_pixels(picture: Path) -> None:
    """`load` gives height x width x colours in uint8, or the axes in another order, or scaled."""
    array = ImageUrl(picture).load()
    assert array.tolist() == [[list(RED), list(GREEN), list(BLUE)], [list(BLUE), list(GREEN), list(RED)]]
    assert array.dtype == np.uint8
    assert array.flags.writeable
    turned = ImageUrl(picture).load(axis_layout=('C', 'W', 'H'))
    np.testing.assert_array_equal(turned, array.transpose(2, 1, 0))
    assert ImageUrl(picture).load(width=6, height=4).shape == (4, 6, 3)
    assert ImageUrl(picture).load(height=4).shape == (4, 3, 3)
    with pytest.raises(QueryError, match='axis_layout'):
        ImageUrl(picture).load(axis_layout='HWX')


def test_a_picture_of_other_colours(tmp_path: Path) -> None:
    """A grey picture has three equal colours as pixels, and stays grey as Pillow's."""
    image = pytest.importorskip('PIL.Image')
    image.fromarray(np.array([[0, 100]], np.uint8)).save(tmp_path / 'grey.png')
    assert ImageUrl(tmp_path / 'grey.png').load().tolist() == [[[0, 0, 0], [100, 100, 100]]]
    assert ImageUrl(tmp_path / 'grey.png').load_pil().mode == 'L'


def test_a_picture_is_measured_before_it_is_unpacked(picture: Path) -> None:
    """A small file that says it holds a huge picture is refused by what it says."""
    with pytest.raises(UrlError, match='3 x 2 pixels; max_pixels='):
        ImageUrl(picture).load(max_pixels=5)
    data = bytearray(picture.read_bytes())
    header = data[12:16] + struct.pack('>II', 60_000, 60_000) + data[24:29]
    data[12:33] = header + struct.pack('>I', zlib.crc32(header))
    picture.write_bytes(data)
    with pytest.raises(UrlError, match=r'60,000 x 60,000|exceeds limit'):
        ImageUrl(picture).load()


@pytest.mark.parametrize('damage', [b'', b'hello', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n'])
def test_what_is_no_picture_is_refused(tmp_path: Path, damage: bytes) -> None:
    """Other files are refused, and so is PostScript, which Pillow would have another program run."""
    pytest.importorskip('PIL')
    (tmp_path / 'file.png').write_bytes(damage)
    with pytest.raises(UrlError, match='as a picture'):
        ImageUrl(tmp_path / 'file.png').load()


def test_half_a_picture_is_refused(picture: Path) -> None:
    """A picture that ends too early is not filled up with black."""
    picture.write_bytes(picture.read_bytes()[:50])
    with pytest.raises(UrlError, match='as a picture'):
        ImageUrl(picture).load()


def test_pictures_need_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow `load` names the extra to install, and bytes can be loaded all the same."""
    monkeypatch.setitem(sys.modules, 'PIL.Image', None)
    (tmp_path / 'file.png').write_bytes(b'x')
    with pytest.raises(MissingLibraryError, match=r'docindex-hnsw\[images\]'):
        ImageUrl(tmp_path / 'file.png').load()
    assert ImageUrl(tmp_path / 'file.png').load_bytes() == b'x'


# -- sound ------------------------------------------------------------------------------------------------------------


def wav(frames: bytes, width: int, channels: int = 1) -> bytes:
    """Return a WAVE file."""
    data = io.BytesIO()
    with wave.open(data, 'wb') as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(frames)
    return data.getvalue()


@pytest.mark.parametrize(
    ('frames', 'width'),
    [
        (b'\x00\x80\xc0', 1),
        (b'\x00\x80\x00\x00\x00\x40', 2),
        (b'\x00\x00\x80\x00\x00\x00\x00\x00\x40', 3),
        (b'\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x40', 4),
    ],
)
def test_samples_of_each_width(tmp_path: Path, frames: bytes, width: int) -> None:
    """The samples of a WAVE file are float32 from -1 to 1, whatever the bytes a sample; with the frame rate."""
    (tmp_path / 'sound.wav').write_bytes(wav(frames, width))
    array, rate = AudioUrl(tmp_path / 'sound.wav').load()
    assert (array.tolist(), array.dtype, rate) == ([-1, 0, 0.5], np.float32, 8000)


def test_channels_stand_beside_each_other(tmp_path: Path) -> None:
    """Several channels are columns."""
    (tmp_path / 'sound.wav').write_bytes(wav(np.array([[0, 16384], [-32768, 0]], '<i2').tobytes(), 2, channels=2))
    array, _ = AudioUrl(tmp_path / 'sound.wav').load()
    assert array.tolist() == [[0, 0.5], [-1, 0]]


@pytest.mark.parametrize('data', [b'', b'ID3\x03 an mp3', wav(b'\0' * 8, 2)[:30]])
def test_other_sound_is_refused(tmp_path: Path, data: bytes) -> None:
    """What is no WAVE file is refused, with the way to its bytes."""
    (tmp_path / 'sound.wav').write_bytes(data)
    with pytest.raises(UrlError, match='load_bytes'):
        AudioUrl(tmp_path / 'sound.wav').load()
