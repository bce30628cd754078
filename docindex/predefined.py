"""
Documents for texts, pictures, sound and video, with DocArray's fields. Subclass them to say how long their vectors are.

    class Sentence(TextDoc):
        embedding: NdArray[384]

As they are, they hold tensors of any shape and framework, which are stored and not searched; so they can be fields of
other documents: `class Page(BaseDoc): title: TextDoc; embedding: NdArray[384]`, `Page(title='Boats', ...)`.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, model_validator

from .document import BaseDoc
from .fields import Field
from .frameworks import framework_of
from .tensors import AnyTensor
from .urls import AudioUrl, ImageUrl, TextUrl, VideoUrl

_BYTES_IN_JSON = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')  # a picture is no UTF-8


class TextDoc(BaseDoc):
    """
    A text. `TextDoc('hello')` equals 'hello', and 'ell' is in it; where a field holds a TextDoc, a string becomes one.

    Attributes:
        text: The text.
        url: Where it is from; `url.load()` gives it.
        embedding: Its vector.
        bytes_: The text as bytes.
    """

    model_config = _BYTES_IN_JSON

    text: str | None = None
    url: TextUrl | None = None
    embedding: AnyTensor | None = Field(default=None, index=False)
    bytes_: bytes | None = None

    def __init__(self, /, text: str | None = None, **fields: Any) -> None:
        super().__init__(**fields if text is None else {'text': text, **fields})

    @model_validator(mode='before')
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {'text': value} if isinstance(value, str) else value

    def __eq__(self, other: object) -> bool:
        return self.text == other if isinstance(other, str) else super().__eq__(other)

    def __contains__(self, part: str) -> bool:
        return self.text is not None and part in self.text


class _MediaDoc(BaseDoc):
    """A document that a url, a tensor or bytes are enough to make, where a field holds one."""

    model_config = _BYTES_IN_JSON

    embedding: AnyTensor | None = Field(default=None, index=False)
    bytes_: bytes | None = None

    @model_validator(mode='before')
    @classmethod
    def _from_content(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {'url': value}
        if isinstance(value, bytes):
            return {'bytes_': value}
        return {'tensor': value} if framework_of(value) is not None else value


class ImageDoc(_MediaDoc):
    """
    A picture. Where a field holds an ImageDoc, a url, a tensor or bytes become one.

    Attributes:
        url: Where it is from; `url.load()` gives its pixels.
        tensor: Its pixels.
        embedding: Its vector.
        bytes_: The file.
    """

    url: ImageUrl | None = None
    tensor: AnyTensor | None = Field(default=None, index=False)


class AudioDoc(_MediaDoc):
    """
    A sound. Where a field holds an AudioDoc, a url, a tensor or bytes become one.

    Attributes:
        url: Where it is from; `url.load()` gives samples and frame rate of a WAVE file.
        tensor: Its samples.
        frame_rate: How many frames of them make a second.
        embedding: Its vector.
        bytes_: The file.
    """

    url: AudioUrl | None = None
    tensor: AnyTensor | None = Field(default=None, index=False)
    frame_rate: int | None = None


class VideoDoc(_MediaDoc):
    """
    A video. Where a field holds a VideoDoc, a url, a tensor or bytes become one.

    Attributes:
        url: Where it is from.
        audio: Its sound.
        tensor: Its frames.
        key_frame_indices: Which of them are key frames.
        embedding: Its vector.
        bytes_: The file.
    """

    url: VideoUrl | None = None
    audio: AudioDoc | None = None
    tensor: AnyTensor | None = Field(default=None, index=False)
    key_frame_indices: AnyTensor | None = Field(default=None, index=False)
