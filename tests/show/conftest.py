"""Orders to show: the small build, one of slices, and a cache that nobody else has."""

from pathlib import Path

import pytest
from support import builds
from support.made_once import made_once

from pipeline.show import Shown


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def sliced(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the small mixture as slices, in rows as stored; not to be changed."""

    def make(folder: Path) -> None:
        changed = ("chunk.algorithm=ettin-slice-v2", "order.view=stored")
        settings = [part for one in changed for part in ("--set", one)]
        builds.run_well("build", small, "--out", folder / "out", *settings)

    return made_once(tmp_path_factory, "sliced", make) / "out"


@pytest.fixture
def shown(finished: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """The small build, shown in the folder of its mixture."""
    monkeypatch.chdir(small.parent)
    return Shown.open(finished)
