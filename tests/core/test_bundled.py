"""Names that ship are found, whatever lies around."""

from pathlib import Path

import pytest

from pipeline.core.bundled import mixture_path, recipe_path
from pipeline.core.errors import ConfigError
from pipeline.version import VERSION


def test_a_folder_of_the_same_name_does_not_hide_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample").mkdir()
    monkeypatch.chdir(tmp_path)
    assert mixture_path("sample").name == "sample.yaml"
    (tmp_path / "mine").touch()
    assert mixture_path("mine") == Path("mine")


def test_a_name_that_does_not_ship_lists_those_that_do() -> None:
    known = r'"simple": got neither a file nor .*: custom-example, .*, sample'
    with pytest.raises(ConfigError, match=known):
        mixture_path("simple")


def test_of_many_names_those_nearest_are_told() -> None:
    meant = '; did you mean "ettin-17m-encoder-pretraining"?'
    with pytest.raises(ConfigError) as caught:
        recipe_path("ettin-17m-encoder-pretrainig")
    told = caught.value.message.removesuffix(meant)
    assert told != caught.value.message
    assert ": ettin-17m-encoder-pretraining, ettin-17m-decoder-pretraining, " in told
    assert told.endswith(" and 52 more")
    with pytest.raises(ConfigError, match=r": (\S+, ){3}\S+ and 52 more\n"):
        recipe_path("unlike")


def test_the_distribution_has_the_version_of_the_code() -> None:
    from importlib.metadata import version

    assert version("ettin-data") == VERSION
