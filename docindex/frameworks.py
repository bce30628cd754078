"""
The frameworks whose tensors a document can hold: numpy, torch, jax, tensorflow.

A tensor of any of them can be read as numbers, written as bytes with the name of its dtype, and made again from either.
Frameworks are recognised by the module of a value's class. None is imported before a tensor of it has to be made, and
then the user's schema, or a document that was stored with one, has named it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ._optional import optional
from .errors import VectorError

Array = np.ndarray[Any, np.dtype[Any]]

_NARROW = 'ml_dtypes'
"""The package with numpy's bfloat16 and its likes; jax and tensorflow bring it."""


class Framework:
    """
    numpy, and what the others have in common: they give and take numpy arrays.

    Attributes:
        name: The package, which is also what one installs.
        module: The module with its functions.
    """

    def __init__(self, name: str, module: str = '') -> None:
        self.name = name
        self.module = module or name

    def array(self, tensor: Any) -> Array:
        """
        Return a tensor as numpy has it, where it can without a copy.

        bfloat16 and its likes are those of `ml_dtypes`; from torch, which knows nothing of these, they are float32.
        """
        return np.asarray(tensor)

    def make(self, source: Any) -> Any:
        """Return a tensor of nested lists or of a numpy array, with the dtype of the array."""
        return np.asarray(source)

    def numbers(self, tensor: Any) -> Array:
        """Return a tensor as an array of a dtype that numpy itself has; what it lacks is widened to float32."""
        array = self.array(tensor)
        return array.astype(np.float32) if _is_narrow(array.dtype) else array

    def numpy_dtype(self, tensor: Any) -> np.dtype[Any]:
        """Return the dtype that a tensor has in numpy."""
        dtype: np.dtype[Any] = np.dtype(tensor.dtype)
        return dtype

    def dtype(self, tensor: Any) -> str:
        """Return the name of a tensor's dtype: '<f4', 'bfloat16'."""
        return _name(self.numpy_dtype(tensor))

    def to_bytes(self, tensor: Any) -> bytes:
        """Return the elements of a tensor one after another, the last axis fastest."""
        return np.ascontiguousarray(self.array(tensor)).tobytes()

    def from_array(self, array: Array, dtype: str) -> Any:
        """Return the tensor of a dtype that these numbers are of: `numbers` and `dtype` back."""
        return self._exactly(array.astype(_numpy_dtype(dtype), copy=False))

    def from_bytes(self, data: Array, dtype: str, shape: list[int]) -> Any:
        """Return the tensor that `to_bytes` was given; `data` are its bytes, which it takes over."""
        return self._exactly(data.view(_numpy_dtype(dtype)).reshape(shape))

    def alias(self, tensor: Any) -> Any:
        """Return another object for the same tensor."""
        return self.array(tensor).view()

    def _exactly(self, array: Array) -> Any:
        return array

    def _import(self) -> Any:
        return optional(self.module, None, f'tensors of {self.name}', self.name)


class _Torch(Framework):
    def array(self, tensor: Any) -> Array:
        widened = tensor.float() if self._is_narrow(tensor) else tensor
        array: Array = widened.numpy(force=True)  # detached, and on the processor
        return array

    def make(self, source: Any) -> Any:
        torch = self._import()
        if not isinstance(source, np.ndarray):
            return torch.as_tensor(source)
        if _is_narrow(source.dtype):
            return self.from_array(source.astype(np.float32), source.dtype.name)
        # torch shares the memory, which must be writable, in the machine's byte order and go forwards.
        native = source.astype(source.dtype.newbyteorder('='), copy=False)
        plain = native.flags.writeable and all(stride >= 0 for stride in native.strides)
        return torch.from_numpy(native if plain else native.copy())

    def numpy_dtype(self, tensor: Any) -> np.dtype[Any]:
        return np.dtype('float32' if self._is_narrow(tensor) else _torch_name(tensor))

    def dtype(self, tensor: Any) -> str:
        return _torch_name(tensor) if self._is_narrow(tensor) else super().dtype(tensor)

    def to_bytes(self, tensor: Any) -> bytes:
        if self._is_narrow(tensor):
            torch = self._import()
            tensor = tensor.detach().cpu().contiguous().view(torch.uint8 if tensor.itemsize == 1 else torch.int16)
        return super().to_bytes(tensor)

    def from_array(self, array: Array, dtype: str) -> Any:
        if dtype.startswith(_NUMPY_BEGINS):
            return self.make(array.astype(dtype, copy=False))
        return self.make(array).to(getattr(self._import(), dtype))

    def from_bytes(self, data: Array, dtype: str, shape: list[int]) -> Any:
        if dtype.startswith(_NUMPY_BEGINS):
            return self.make(data.view(dtype).reshape(shape))
        torch = self._import()
        kind = getattr(torch, dtype)
        bits = data if kind.itemsize == 1 else data.view(np.int16)
        return torch.from_numpy(bits.reshape(shape)).view(kind)

    def alias(self, tensor: Any) -> Any:
        return tensor.detach()

    @staticmethod
    def _is_narrow(tensor: Any) -> bool:
        return _torch_name(tensor) == 'bfloat16' or _torch_name(tensor).startswith('float8')


class _Jax(Framework):
    def make(self, source: Any) -> Any:
        return self._import().asarray(source)

    def alias(self, tensor: Any) -> Any:
        return self.make(self.array(tensor).copy())

    def _exactly(self, array: Array) -> Any:
        made = self.make(array)
        if made.dtype != array.dtype.newbyteorder('='):
            raise VectorError(
                f'jax makes {made.dtype} of a stored tensor of {array.dtype}; it holds such numbers after '
                "jax.config.update('jax_enable_x64', True)"
            )
        return made


class _TensorFlow(Framework):
    def numpy_dtype(self, tensor: Any) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(tensor.dtype.as_numpy_dtype)
        return dtype

    def make(self, source: Any) -> Any:
        return self._import().convert_to_tensor(source)

    def alias(self, tensor: Any) -> Any:
        return self._import().identity(tensor)

    def _exactly(self, array: Array) -> Any:
        return self.make(array)


_NUMPY_BEGINS = ('<', '>', '|')
NUMPY = Framework('numpy')
FRAMEWORKS = {
    'numpy': NUMPY,
    'torch': _Torch('torch'),
    'jax': _Jax('jax', 'jax.numpy'),
    'tensorflow': _TensorFlow('tensorflow'),
}
_PACKAGES = {**FRAMEWORKS, 'jaxlib': FRAMEWORKS['jax']}


def framework_of(value: object) -> Framework | None:
    """Return the framework that a value is a tensor of; None if it is none."""
    return NUMPY if isinstance(value, np.ndarray) else _framework_of_type(type(value))  # type: ignore[arg-type]  # mypy doubts that classes can be hashed


@lru_cache(maxsize=1024)
def _framework_of_type(kind: Any) -> Framework | None:
    for cls in kind.__mro__:
        found = _PACKAGES.get(cls.__module__.partition('.')[0])
        # Not numpy's scalars, and of the others what has a shape: their dtypes and devices have none.
        if found is not None and found is not NUMPY and hasattr(kind, 'shape'):
            return found
    return None


def _torch_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix('torch.')


def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name if _is_narrow(dtype) else dtype.str


def _is_narrow(dtype: np.dtype[Any]) -> bool:
    return dtype.type.__module__ == _NARROW and 'complex' not in dtype.name


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Return whether its name and the bytes of its elements say all about a tensor of this dtype."""
    return dtype.kind in 'biufcmMSU' or _is_narrow(dtype)


def itemsize(name: str) -> int:
    """Return how many bytes an element of a dtype takes, by the name that `Framework.dtype` gives it."""
    return np.dtype(name).itemsize if name.startswith(_NUMPY_BEGINS) else 2 if name == 'bfloat16' else 1


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Return whether a tensor can have this dtype: booleans, integers and floats of up to eight bytes."""
    return (dtype.kind in 'biuf' and dtype.itemsize <= 8) or _is_narrow(dtype)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name.startswith(_NUMPY_BEGINS):
        return np.dtype(name)
    dtype: np.dtype[Any] = np.dtype(getattr(optional(_NARROW, None, f'tensors of {name}'), name))
    return dtype
