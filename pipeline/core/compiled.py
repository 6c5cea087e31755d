"""Compiled functions, cached on disk under the digest of every file that is compiled into them.

numba's own cache notices a change in the function's own file alone.

The disk is where numba keeps its caches: beside the file, else in the user's folder. Where it can
write to neither, as in a container under another user, it is a private folder of this command and
of the workers that it starts, removed at the end.

numba takes half a second to import, and a function up to eight to compile: both happen at the first
call, or, of a function that is `compiled_late`, at the first that is worth it.
"""

import atexit
import ctypes
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# Elements of arrays that a function is given before it is compiled, where there is little work.
# Python takes some 100 ns for each.
_LITTLE_ELEMENTS = 1 << 21


class Budget:
    """How much is done without some compiled code before that is made; for `little_work`."""

    _num_little = 0

    def __init__(self, most: int) -> None:
        self._left = most

    def covers(self, size: int) -> bool:
        """Return whether work of a size is done without, and count it; never again once it is not.

        It is not where the process has more than little work.
        """
        if not Budget._num_little:
            return False
        self._left = self._left - size if size <= self._left else 0
        return self._left > 0


@contextmanager
def little_work() -> Iterator[None]:
    """Do without compiled code, in this process, what takes less time than compiling does."""
    Budget._num_little += 1
    try:
        yield
    finally:
        Budget._num_little -= 1


class _InPython(threading.local):
    """Whether this thread is within a compiled function that runs as Python."""

    is_so = False


_in_python = _InPython()


class Compiled:
    """A function that is compiled at a call; where a budget covers the call, it runs as Python."""

    def __init__(
        self, function: Callable[..., Any], *, is_cached: bool = True, budget: Budget | None = None
    ) -> None:
        self.py_func = function
        self._is_cached = is_cached
        self._budget = budget

    def __call__(self, *arguments: Any) -> Any:
        if _in_python.is_so:
            return self.py_func(*arguments)
        if self._budget is not None and self._budget.covers(_count_elements(arguments)):
            return self._run_as_python(arguments)
        return self.dispatcher(*arguments)

    def _run_as_python(self, arguments: tuple[Any, ...]) -> Any:
        _in_python.is_so = True
        try:
            # Numbers wrap around in compiled code, and so they do here.
            with np.errstate(over="ignore"):
                return self.py_func(*arguments)
        finally:
            _in_python.is_so = False

    @cached_property
    def dispatcher(self) -> Any:
        """What numba made of the function."""
        from numba import njit

        if not self._is_cached:
            return njit(self.py_func)
        dispatcher = njit(nogil=True)(self.py_func)
        try:
            dispatcher._cache = _make_cache(self.py_func)
        except RuntimeError:  # numba finds no folder that it can write to.
            _use_private_folder()
            with suppress(RuntimeError):
                dispatcher._cache = _make_cache(self.py_func)
        return dispatcher

    @property
    def _numba_type_(self) -> Any:
        """What numba takes it for in a function that calls it."""
        return self.dispatcher._numba_type_


_C_TYPES: dict[str, Any] = {
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "intp": ctypes.c_ssize_t,
    "uintp": ctypes.c_size_t,
    "voidptr": ctypes.c_void_p,
}


class CFunction:
    """A function of the C library, for compiled functions to call; types are named as in numba."""

    def __init__(self, name: str, returned: str, *taken: str) -> None:
        self._name, self._returned, self._taken = name, returned, taken

    def __call__(self, *arguments: Any) -> Any:
        """Call it from a function that runs as Python."""
        plain = (int(one) if isinstance(one, np.integer) else one for one in arguments)
        return self._loaded(*plain)

    @cached_property
    def _loaded(self) -> Any:
        function = ctypes.CDLL(None)[self._name]
        function.restype = _C_TYPES[self._returned]
        function.argtypes = [_C_TYPES[name] for name in self._taken]
        return function

    @property
    def _numba_type_(self) -> Any:
        from numba import types

        taken = [getattr(types, name) for name in self._taken]
        return types.ExternalFunction(self._name, getattr(types, self._returned)(*taken))


def _count_elements(arguments: tuple[Any, ...]) -> int:
    return sum(value.size for value in arguments if isinstance(value, np.ndarray))


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, to run without the GIL, and cache it on disk."""
    return Compiled(function)


def compiled_late(function: Callable[..., Any]) -> Any:
    """Compile a function at the first call that is worth it.

    Where there is `little_work`, it runs as Python before. So it, and what it calls, must do the
    same there: integers of 64 bits with and without a sign do not mix.
    """
    return Compiled(function, budget=Budget(_LITTLE_ELEMENTS))


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into those that call it, which need no other cache than theirs."""
    return Compiled(function, is_cached=False)


_announce: Callable[[], None] | None = None


@contextmanager
def announced(announce: Callable[[], None]) -> Iterator[None]:
    """Call a function once, when this process compiles what no earlier one has left on disk."""
    global _announce
    _announce = announce
    try:
        yield
    finally:
        _announce = None


def _announce_once() -> None:
    global _announce
    announce, _announce = _announce, None
    if announce is not None:
        announce()


@cache
def _use_private_folder() -> None:
    """Let numba keep its caches in a new folder, here and in processes that are started later."""
    try:
        folder = tempfile.mkdtemp(prefix="ettin-data-compiled-")
    except OSError:
        _say("cannot be kept on disk, and takes a minute to make", "NUMBA_CACHE_DIR names a folder")
        return
    atexit.register(_remove_own, folder, os.getpid())
    from numba import config

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


def _make_cache(function: Callable[..., Any]) -> Any:
    """Return numba's cache of a function on disk. Raises: RuntimeError without a place for it."""
    return _cache_class()(function)


def compiled_folder() -> Path | None:
    """Return where compiled code is kept on this machine; None where nothing can be written."""
    try:
        return Path(_make_cache(_count_elements).cache_path)
    except RuntimeError:
        return None


@cache
def _cache_class() -> type:
    from numba.core.caching import FunctionCache

    class Cache(FunctionCache):  # type: ignore[misc]
        def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
            files = {function.__code__.co_filename for function in _reached(self._py_func, set())}
            return *super()._index_key(signature, codegen), *sorted(map(_digest, files))

        _lock: int | None = None

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            """Return compiled code; None where there is none, or a damaged one, then discarded.

            What another process is compiling is waited for. Where it has left none, this one holds
            the lock until it has saved its own.
            """
            found = self._load(sig, target_context)
            if found is None:
                self._lock = self._locked()
                found = self._load(sig, target_context)
                if found is not None:
                    self._unlock()
                else:
                    _announce_once()
            return found

        def save_overload(self, sig: Any, data: Any) -> None:
            """Keep compiled code, if there is room."""
            try:
                super().save_overload(sig, data)
            except OSError as error:
                hint = "NUMBA_CACHE_DIR names another folder"
                folder = Path(self.cache_path).parent
                _say(f"cannot be kept in {folder} ({error.strerror})", hint)
            finally:
                self._unlock()

        def _load(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:
                with suppress(OSError):
                    self.flush()
                return None

        def _locked(self) -> int | None:
            """Return an open file that locks this function; None where the disk cannot lock."""
            name = f"{self._impl.filename_base}.lock"
            with suppress(OSError), ExitStack() as stack:
                self._impl.locator.ensure_cache_path()
                descriptor = os.open(Path(self.cache_path, name), os.O_WRONLY | os.O_CREAT, 0o666)
                stack.callback(os.close, descriptor)
                # No process waits for itself: functions that call one another form no ring.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                stack.pop_all()
                return descriptor
            return None

        def _unlock(self) -> None:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    return Cache


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
