"""Compiled functions, cached on disk under the digest of every file that is compiled into them.

numba's own cache notices a change in the function's own file alone.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, to run without the GIL, and cache it on disk.

    Functions that only compiled ones call need no cache of their own: use `numba.njit`.
    """
    dispatcher = njit(nogil=True)(function)
    # Where numba can write neither beside the file nor to the user's folder, there is no cache.
    with suppress(RuntimeError):
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        files = {function.__code__.co_filename for function in _reached(self._py_func, set())}
        return *super()._index_key(signature, codegen), *sorted(map(_digest, files))


def _reached(function: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield a function and all functions that are compiled into it."""
    if function in seen:
        return
    seen.add(function)
    yield function
    scopes = [function.__globals__]
    for name in function.__code__.co_names:
        for called in [scope[name] for scope in scopes if name in scope]:
            if isinstance(called, ModuleType):
                scopes.append(vars(called))
            # Compiled functions keep what they are made of as `py_func`, intrinsics as `_defn`.
            inner = getattr(called, "py_func", None) or getattr(called, "_defn", None)
            if inner is not None:
                yield from _reached(inner, seen)


@cache
def _digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
