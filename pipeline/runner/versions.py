"""Versions: of what decides bytes, in this process and in others of the same build.

Another version may tokenize, sort or compress differently, so one build has one of each.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

Versions = dict[str, str]
_PACKAGES = ("datatrove", "numba", "numpy", "pyarrow", "tokenizers", "zstandard")


def versions() -> Versions:
    """Return the versions in this process of what decides bytes, by name."""
    return version_reader()()


def version_reader() -> Callable[[], Versions]:
    """Return `versions`, as a function that a worker of any version of this package can run.

    Functions and classes within a function are sent by value, all others by name.
    """
    packages = _PACKAGES

    def read() -> Versions:
        import sys
        from importlib import import_module, metadata

        def version_of(package: str) -> str:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                return "none"

        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        own = str(import_module("pipeline.version").VERSION)
        others = {package: version_of(package) for package in packages}
        return {"ettin-data": own, "Python": python, **others}

    return read


def differing_versions(expected: Versions, found: Mapping[str, Versions]) -> list[str]:
    """Return a line for each version that differs from the expected, with who has it."""
    differ: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for who, has in sorted(found.items()):
        for name, version in expected.items():
            if (other := has.get(name, "none")) != version:
                differ[name, other].append(who)
    return [
        f"{name}: {expected[name]} here, {other} on {', '.join(who)}"
        for (name, other), who in sorted(differ.items())
    ]
