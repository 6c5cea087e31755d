"""Filters of a mixture's own, written to a file and asked as the tests do."""

from pathlib import Path
from textwrap import dedent

from support.filters import declared

from pipeline.stages.filters.chain import FilterChain, make_filters


def write(folder: Path, source: str, name: str = "own.py") -> Path:
    """Write a module beside a mixture."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source))
    return path


def own(folder: Path, source: str, filters: str = "[python: './own.py:keep']") -> FilterChain:
    """Return the filters that a mixture in a folder declares, of the code in `own.py`."""
    write(folder, source)
    return allowed(folder, filters)


def allowed(folder: Path, filters: str) -> FilterChain:
    return make_filters(declared(filters), folder, allows_code=True)
