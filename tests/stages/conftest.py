"""Fixtures of the tests of stages."""

from pathlib import Path

import pytest
from support.filters import filter_files


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a language model and lists, as a mixture names them."""
    return filter_files(tmp_path_factory.mktemp("filters"))
