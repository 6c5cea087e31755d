"""What the tests of the adapters share."""

from pathlib import Path

import pytest
from adapters import numbered


@pytest.fixture(scope="session")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The numbered order; not to be changed."""
    return numbered.write_order(tmp_path_factory.mktemp("numbered"))
