"""Compiled functions, cached on disk under the digest of every file that is compiled into them.

numba's own cache notices a change in the function's own file alone.

The disk is where numba keeps its caches: beside the file, else in the user's folder. Where it can
write to neither, as in a container under another user, it is a private folder of this command and
of the workers that it starts, removed at the end.
"""

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, to run without the GIL, and cache it on disk.

    Functions that only compiled ones call need no cache of their own: use `numba.njit`.
    """
    dispatcher = njit(nogil=True)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # numba finds no folder that it can write to.
        _use_private_folder()
        with suppress(RuntimeError):
            dispatcher._cache = _Cache(function)
    return dispatcher


@cache
def _use_private_folder() -> None:
    """Let numba keep its caches in a new folder, here and in processes that are started later."""
    try:
        folder = tempfile.mkdtemp(prefix="ettin-data-compiled-")
    except OSError:
        _say("cannot be kept on disk, and takes a minute to make", "NUMBA_CACHE_DIR names a folder")
        return
    atexit.register(_remove_own, folder, os.getpid())
    os.environ["NUMBA_CACHE_DIR"] = config.CACHE_DIR = folder
    _say(f"is kept in {folder} for this command only", "NUMBA_CACHE_DIR names a folder that stays")


def _remove_own(folder: str, pid: int) -> None:
    # A process that was forked has inherited this.
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _say(what: str, hint: str) -> None:
    with suppress(OSError):
        print(f"compiled code {what}; {hint}", file=sys.stderr)


class _Cache(FunctionCache):  # type: ignore[misc]
    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        files = {function.__code__.co_filename for function in _reached(self._py_func, set())}
        return *super()._index_key(signature, codegen), *sorted(map(_digest, files))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return compiled code; None where there is none, or it is damaged, which is discarded."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, if there is room."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            hint = "NUMBA_CACHE_DIR names another folder"
            folder = Path(self.cache_path).parent
            _say(f"cannot be kept in {folder} ({error.strerror})", hint)


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
