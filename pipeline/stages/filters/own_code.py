"""Own code: the modules that a mixture names for its filters, found, pinned and loaded.

Nothing is imported to find or to pin a module. A module in one file is run from the very bytes that
were pinned, under a private name, so that two mixtures may have modules of one name.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from pipeline.config import Datatrove, Filter, Python
from pipeline.core.digest import fingerprint, sha256_bytes, sha256_file
from pipeline.core.errors import ConfigError

_FILE: Final = ".py"
_GUIDE: Final = "docs/guide/own-filters.md#filters-of-your-own"
_MOST_CHARACTERS: Final = 200
_MISSING: Final = object()
# What this process has imported of packages: a package is imported once, as it was then.
_imported: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnCode:
    """A module of a mixture's own."""

    module: str
    """As the mixture names it."""
    package: str
    """What is pinned: the outermost package of the module, or the file."""
    path: Path
    """The file, or the folder of the package."""
    sha256: str
    """Of the file; of a package, of the paths and digests of all its `.py` files."""

    @property
    def is_package(self) -> bool:
        return self.path.is_dir()


def refuse_code(filters: tuple[Filter, ...], where: str = "") -> None:
    """Refuse filters that run code that a mixture names. Raises: ConfigError naming the first."""
    for one in filters:
        if one.is_code:
            named = one.options.function if one.name == "python" else one.options.filter
            raise ConfigError(
                f"{where}filters: {one.name} {named}: got code that the mixture names, which runs"
                " only with --allow-code",
                "read it, then give --allow-code if you trust it (in Python allows_code=True)",
                guide=_GUIDE,
            )


def find_code(options: Python | Datatrove, folder: Path) -> OwnCode | None:
    """Find and pin the module of a filter, without a line of it being run.

    Return None for a class of datatrove's own, which its version pins. Relative to `folder`.
    Raises: ConfigError where it is not found.
    """
    module = options.module
    if module is None:
        return None
    if module.endswith(_FILE):
        return _of_file(module, module, folder / module)
    package = module.partition(".")[0]
    origin = _origin(package)
    if origin is None or not origin.is_file():
        raise ConfigError(
            f"filters: {module}:{options.name}: got no file of an installed module {package},"
            " expected one; of a package its __init__.py",
            f"install it, or name a file beside the mixture: ./{package}.py:{options.name}",
        )
    if origin.name == "__init__.py":
        root = origin.parent
        return OwnCode(module=module, package=package, path=root, sha256=_of_package(root))
    if module != package:
        raise ConfigError(
            f"filters: {module}:{options.name}: got a module in one file, {origin}, expected a"
            " package"
        )
    return _of_file(module, package, origin)


def load(code: OwnCode, name: str) -> Any:
    """Return what a module calls `name`, after its code ran. Raises: ConfigError."""
    where = f"filters: {code.module}:{name}"
    try:
        with redirect_stdout(sys.stderr):
            module = _import(code, where) if code.is_package else _run(code, where)
            # A module may answer for names that it does not have.
            found = getattr(module, name, _MISSING)
    except (KeyboardInterrupt, MemoryError, ConfigError):
        raise
    except BaseException as error:
        line = line_of(error, code.path)
        raise ConfigError(f"{where}: cannot be imported: {described(error)}{line}") from error
    if found is _MISSING:
        names = sorted(one for one, value in vars(module).items() if callable(value))
        known = f"one of {', '.join(names[:20])}" if names else "a function, of which it has none"
        raise ConfigError(f"{where}: got no {name} there, expected {known}")
    if not callable(found):
        raise ConfigError(f"{where}: got {type(found).__name__}, expected a function or a class")
    return found


def described(error: BaseException) -> str:
    """Return an exception in a few words on one line, whatever its own `__str__` does."""
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        return kind
    return f"{kind}: {text[:_MOST_CHARACTERS]}" if text else kind


def line_of(error: BaseException, path: Path) -> str:
    """Return the innermost line of a file, or of a package's files, that raised an exception."""
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file == path or path in file.parents:
            found = f" ({file.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _origin(package: str) -> Path | None:
    """Return the file of an outermost package or module, of which nothing is imported."""
    invalidate_caches()
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # A ValueError of what was loaded without a spec.
        return None
    # Some of Python's own are in no file; a folder without __init__.py may be many folders.
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _of_file(module: str, package: str, path: Path) -> OwnCode:
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise ConfigError(
            f"filters: {module}: {path}: got no file ({error.strerror}), expected one",
            "paths are relative to the mixture file",
        ) from error
    return OwnCode(module=module, package=package, path=path.absolute(), sha256=digest)


def _of_package(root: Path) -> str:
    """Return the digest of all Python files of a package, which are read again once one changed."""
    files = sorted(one for one in root.rglob(f"*{_FILE}") if one.is_file())
    states = [(one, one.stat()) for one in files]
    return _of_files(
        root, tuple((path, has.st_ino, has.st_size, has.st_mtime_ns) for path, has in states)
    )


@lru_cache(maxsize=64)
def _of_files(root: Path, files: tuple[tuple[Path, int, int, int], ...]) -> str:
    return fingerprint({path.relative_to(root).as_posix(): sha256_file(path) for path, *_ in files})


def _run(code: OwnCode, where: str) -> ModuleType:
    """Run a file's bytes as a module; what Python compiled of it earlier is not asked."""
    name = f"own_filters_{fingerprint([str(code.path), code.sha256])}"
    if name in sys.modules:
        return sys.modules[name]
    source = code.path.read_bytes()
    if sha256_bytes(source) != code.sha256:
        raise _changed(where)
    module = ModuleType(name)
    module.__file__ = str(code.path)
    # Where classes of the module look for it, such as a dataclass for its annotations.
    sys.modules[name] = module
    try:
        exec(compile(source, str(code.path), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(code: OwnCode, where: str) -> ModuleType:
    if _imported.setdefault(code.package, code.sha256) != code.sha256:
        raise _changed(where)
    return import_module(code.module)


def _changed(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: changed since this process has read it", "run the same command again"
    )
