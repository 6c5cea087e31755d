"""Addresses where a path is wanted, and paths that look like addresses."""

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.storage.hub import check_is_path, is_hub_address


def test_an_address_is_no_path() -> None:
    assert is_hub_address("hf://datasets/org/order")
    assert not is_hub_address(Path("order"))


@pytest.mark.parametrize(
    "address", ["https://huggingface.co/datasets/a/b", "hf://datasets/a/b", "s3://bucket/pool"]
)
def test_an_address_where_a_path_is_wanted_is_shown_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_is_path(Path(address), "a pool")
    assert caught.value.message == f"{address}: got an address, expected the path of a pool"
    assert "only published parquet is read remotely, as hf://datasets/ORG/NAME" in str(
        caught.value.hint
    )
    # A folder may be called so all the same.
    monkeypatch.chdir(tmp_path)
    Path(address).mkdir(parents=True)
    check_is_path(Path(address), "a pool")
    check_is_path(Path("nowhere/at:/all"), "a pool")
