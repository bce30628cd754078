"""Values as JSON, exactly: the one form for what DocArray returned and for what docindex returns."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from pydantic import BaseModel


def plain(value: Any) -> Any:
    """Return a value as JSON, exactly: what JSON does not have is a dict with one key."""
    if isinstance(value, BaseModel):
        fields = {name: plain(getattr(value, name)) for name in type(value).model_fields if name != 'parent_id'}
        return {'document': fields}
    if isinstance(value, np.ndarray):
        return {'dtype': str(value.dtype), 'shape': list(value.shape), 'values': np.asarray(value).ravel().tolist()}
    if isinstance(value, (set, tuple)):
        return {type(value).__name__: [plain(each) for each in sorted(value, key=str)]}
    if isinstance(value, bytes):
        return {'bytes': value.hex()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {'dict': {key: plain(each) for key, each in value.items()}}
    return value
