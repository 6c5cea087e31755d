"""What tests of training share: the sample, to train and be evaluated on."""

from pathlib import Path

import pytest
from support import builds


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with some documents held out; not to be changed."""
    out = tmp_path_factory.mktemp("data") / "out"
    builds.run_well("build", "sample", "--out", out, "--workers", "1",
                    "--set", "validation={fraction: 0.03}")  # fmt: skip
    return out
