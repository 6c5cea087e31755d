"""A tokenizer from the Hub: fetched at its commit from a server on loopback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from pipeline.core.errors import ConfigError
from pipeline.stages.tokenizer import load_tokenizer, read_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SERVER = REPOSITORY / "tests/support/hub_server.py"
LOAD = """
import sys
import time
from pipeline.core.errors import PipelineError
from pipeline.stages.tokenizer import load_tokenizer
time.sleep = lambda seconds: None  # between the library's tries
try:
    tokenizer = load_tokenizer("org/tokenizer", add_prefix_space=False, revision=sys.argv[1])
    print(tokenizer.digest, tokenizer.is_fast, tokenizer.encode(["a b"]).values.tolist())
except PipelineError as error:
    print(error)
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """Serve the embedded tokenizer as the Hub would."""
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    file = tmp_path / "tokenizer.json"
    file.write_bytes(read_json("modernbert"))
    with subprocess.Popen(
        [sys.executable, str(SERVER), COMMIT, str(file)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


def load_from(endpoint: str, revision: str, home: Path) -> str:
    """Load in a process of its own, since the endpoint is read when the library is imported."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, revision],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_hub_tokenizer_is_fetched_at_its_commit(endpoint: str, tmp_path: Path) -> None:
    embedded = load_tokenizer("modernbert", add_prefix_space=False)
    ids = embedded.encode(["a b"]).values.tolist()
    out = load_from(endpoint, COMMIT, tmp_path / "home")
    assert out == f"{embedded.digest} True {ids}\n"


def test_a_commit_that_is_not_there_is_an_error_that_names_it(
    endpoint: str, tmp_path: Path
) -> None:
    absent = "f" * 40
    out = load_from(endpoint, absent, tmp_path / "home")
    assert f"org/tokenizer@{absent}: cannot fetch tokenizer.json" in out
    assert "hint: check the name and the commit" in out


def test_a_hub_that_cannot_be_reached_is_an_error_of_the_network(tmp_path: Path) -> None:
    out = load_from("http://127.0.0.1:1", COMMIT, tmp_path / "home")
    assert "cannot fetch tokenizer.json" in out
    assert "hint: run the same command later" in out


def test_without_the_library_a_hub_id_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'ettin-data\[hub\]'"):
        load_tokenizer("org/tokenizer", add_prefix_space=False, revision=COMMIT)
