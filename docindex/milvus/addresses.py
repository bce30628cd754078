"""Where a server is: uris, and what of them may be shown."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from ..errors import SettingsError


def is_embedded(uri: str) -> bool:
    """Return whether a uri is a directory of Milvus Lite."""
    return uri.endswith('.db') and '://' not in uri


def checked_uri(uri: object) -> str:
    """
    Return a uri that can be one.

    Raises:
        SettingsError: it cannot.
    """
    if isinstance(uri, os.PathLike):
        uri = os.fspath(uri)
    if not isinstance(uri, str) or not (is_embedded(uri) or re.match(r'(https?|tcp)://[^/]|unix:', uri)):
        shown = without_password(uri) if isinstance(uri, str) else repr(uri)
        raise SettingsError(
            f'uri must be http://host:19530 or https://..., or ./name.db for Milvus Lite in this process; got {shown!r}'
        )
    return uri


def secrets(uri: str, token: str) -> list[str]:
    """Return what no message may have in it: tokens, and the passwords in them."""
    in_uri = urlsplit(uri).netloc.rpartition('@')[0] if '://' in uri else ''
    tokens = [one for one in (token, in_uri) if one]
    return tokens + [password for one in tokens for password in [one.partition(':')[2]] if password]


def without_password(uri: str) -> str:
    """Return a uri to be shown."""
    return re.sub(r'(?<=//)[^/@]*@', '', uri)
