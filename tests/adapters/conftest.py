"""What the tests of the adapters share."""

from pathlib import Path

import pytest
import torch

from adapters import numbered


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """More make models as small as these slower, by far."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The numbered order; not to be changed."""
    return numbered.write_order(tmp_path_factory.mktemp("numbered"))
