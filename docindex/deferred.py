"""
Documents that are made when somebody looks at them.

Until then such a document is an instance of a class beside its own, which has nothing but the way to make it. Whatever
is asked of it first, an attribute, a copy, `model_dump`, makes it: then it is an ordinary document of its class,
and was one to `isinstance` and `__class__` all the time; only `type` sees the class beside it. Pydantic's core reads a
document by its attribute `__dict__`, so that it sees the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel

D = TypeVar('D', bound=BaseModel)

_STATE = ('__dict__', '__pydantic_fields_set__', '__pydantic_extra__', '__pydantic_private__')
_class_of: Any = object.__dict__['__class__']
_dict_of: Callable[[Any], dict[str, Any]] = BaseModel.__dict__['__dict__'].__get__
# One for all: two threads that look at the same document at once must not make it twice.
_making = threading.RLock()


def deferred(doc_type: type[D], make: Callable[[int], D], positions: Iterable[int]) -> list[D]:
    """
    Return for each position a document of a class, made by `make(position)` when somebody looks at it.

    What that raises is raised where it is looked at, each time.
    """
    cls, new = _deferred_class(doc_type), object.__new__
    docs: list[D] = []
    for at in positions:
        doc = new(cls)
        _dict_of(doc)['__make'] = make, at
        docs.append(cast(D, doc))
    return docs


def _made(self: Any) -> Any:
    """Make a document what it is to be."""
    with _making:
        cls = type(self)
        if '__dict__' in cls.__dict__:
            make, at = _dict_of(self)['__make']
            doc = make(at)
            _class_of.__set__(self, type(doc))
            for name in _STATE:
                object.__setattr__(self, name, getattr(doc, name))
    return self


def _first_made(name: str) -> Callable[..., Any]:
    """Return a method that does what the document's own does, once it is made."""

    def method(self: Any, *arguments: Any) -> Any:
        return getattr(_made(self), name)(*arguments)

    return method


@lru_cache(maxsize=256)
def _deferred_class(doc_type: type[BaseModel]) -> type[BaseModel]:
    methods = ('__eq__', '__setattr__', '__delattr__', '__copy__', '__deepcopy__', '__reduce_ex__', '__hash__')
    namespace: dict[str, Any] = {name: _first_made(name) for name in methods}
    namespace['__getattr__'] = lambda self, name: getattr(_made(self), name)
    namespace['__dict__'] = property(lambda self: _made(self).__dict__)
    namespace['__class__'] = property(lambda self: type(_made(self)))
    namespace |= {'__slots__': (), '__module__': doc_type.__module__, '__qualname__': doc_type.__qualname__}
    # Not by pydantic's metaclass, which would build validators anew; those of the document's class serve.
    return type.__new__(type(doc_type), doc_type.__name__, (doc_type,), namespace)
