"""What tests of stores share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.source_server import Server, serve
from support.stores import FILES, Sleeps


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as a folder."""
    root = tmp_path_factory.mktemp("content")
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def server_process(content: Path) -> Iterator[Server]:
    """One server for all tests that need no other settings."""
    repos = {f"org/{name}": content for name in ("set", "closed", "moves")}
    with serve(repos, files={"set": content}, gated=["org/closed"], page_size=3) as server:
        yield server


@pytest.fixture
def server(server_process: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server without faults, as the endpoint; no token."""
    monkeypatch.setenv("HF_ENDPOINT", server_process.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    server_process.set_faults([])
    server_process.reset()
    return server_process


@pytest.fixture
def sleeps() -> Sleeps:
    """Record waits in place of waiting."""
    return Sleeps()
