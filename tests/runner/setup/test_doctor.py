"""What `doctor` says of a machine, and how it ends."""

import json
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import call
from support.paths import GOLDEN, REPOSITORY

from pipeline.core.compiled import compiled_folder
from pipeline.runner.setup import readiness
from pipeline.runner.setup.readiness import Finding, examine_machine

NOWHERE = "http://127.0.0.1:9"
USER = b'{"name": "anna"}'


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def found(what: str, folder: Path = Path()) -> Finding:
    return next(one for one in examine_machine(folder) if one.what == what)


@contextmanager
def hub(status: int, body: bytes = b"[]", **headers: str) -> Iterator[list[str]]:
    """Answer every request alike; yield the paths that were asked for, with their token."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization')}")
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield asked
        finally:
            server.shutdown()
            server.server_close()


def test_a_machine_without_a_network_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "doctor")
    lines = out.splitlines()
    assert code == 0
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "warn", "->"}
    (away,) = (line for line in lines if line.startswith("warn  Hub: cannot reach"))
    assert NOWHERE in away
    assert lines[lines.index(away) + 1].strip().startswith("-> sources on the Hub need it: check")
    assert lines[-1].startswith("0 fail, ")
    code, out, _ = call(capsys, "doctor", "--json")
    content = json.loads(out)
    assert code == 0
    assert {"what", "status", "says", "todo"} == content[0].keys()
    assert {one["what"] for one in content} >= {"machine", "disk", "versions", "tokenizer", "Hub"}


def test_known_ids_are_those_of_the_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = json.loads((GOLDEN / "tokenizer_fixture.json").read_text())
    ids = {one["text"]: " ".join(map(str, one["ids"][1:-1])) for one in golden}
    assert {text: ids[text] for text in readiness._KNOWN_IDS} == readiness._KNOWN_IDS
    assert found("tokenizer").status == "ok"
    monkeypatch.setitem(readiness._KNOWN_IDS, "hello world", "25521 1534")
    wrong = found("tokenizer")
    assert (wrong.status, "to other ids with tokenizers" in wrong.says) == ("fail", True)


def test_a_fault_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(readiness._KNOWN_IDS, "hello world", "25521 1534")
    code, out, _ = call(capsys, "doctor")
    assert (code, out.splitlines()[-1].startswith("1 fail, ")) == (1, True)


class Usage(NamedTuple):
    """As `shutil.disk_usage` returns it."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "status"), [(1 << 40, "ok"), (9 << 30, "warn"), (100 << 20, "fail")]
)
def test_a_disk_that_is_nearly_full_is_said(
    free: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness.shutil, "disk_usage", lambda folder: Usage(1 << 41, 0, free))
    disk = found("disk", tmp_path)
    assert (disk.status, bool(disk.todo)) == (status, status != "ok")
    monkeypatch.setattr(readiness.os, "access", lambda folder, mode: False)
    assert (found("disk", tmp_path).status, "not writable" in found("disk", tmp_path).says) == (
        "fail",
        True,
    )


def test_limits_that_are_too_low_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "open_files_of", lambda workers: 1 << 40)
    assert found("open files").status == "warn"
    assert "ulimit -n 1099511627776" in found("open files").todo
    monkeypatch.setattr(readiness, "num_cores", lambda: 1_000_000)
    assert found("machine").status == "warn"
    monkeypatch.setattr("pipeline.core.limits.machine_memory_bytes", lambda: 1 << 20)
    assert found("machine").status == "fail"


def test_versions_that_are_not_those_required_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy<2", "numba>=0.1", "pylate-of-nobody>=1; extra == 'colbert'",
                "hypothesis<1; extra == 'train'", "pytest>=1; extra == 'az'"]  # fmt: skip
    monkeypatch.setattr(metadata, "requires", lambda package: requires)
    versions = found("versions")
    assert (versions.status, versions.todo) == ("fail", "pip install 'numpy<2'")
    missing = found("extra colbert")
    assert missing.status == "ok"
    assert missing.says.endswith("; not installed (pylate-of-nobody)")
    assert missing.todo == "if you need it: pip install 'ettin-data[colbert]'"
    monkeypatch.setattr(metadata, "requires", lambda package: ["no-such-thing; extra=='filters'"])
    says = "for all filters but length, regex and own functions, which need no extra; not installed"
    assert found("extra filters").says == f"{says} (no-such-thing)"
    monkeypatch.setattr(metadata, "requires", lambda package: requires)
    assert found("extra az").says == "installed"
    old = found("extra train")
    assert (old.status, old.todo) == ("warn", "pip install 'hypothesis<1'")


def test_compiled_code_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = compiled_folder()
    assert folder is not None
    assert found("compiled code").status == "ok"
    monkeypatch.setattr(readiness, "compiled_folder", lambda: tmp_path / "none" / "below")
    assert "none yet below" in found("compiled code").says
    monkeypatch.setattr(readiness, "compiled_folder", lambda: None)
    assert (found("compiled code").status, "NUMBA_CACHE_DIR" in found("compiled code").todo) == (
        "warn",
        True,
    )


@pytest.mark.parametrize(
    ("token", "answer", "status", "says"),
    [
        ("", (200, b"[]", {}), "ok", "answers, without a token"),
        ("t", (200, USER, {}), "ok", "answers, as anna"),
        ("t", (200, USER, {"RateLimit": '"api";r=499;t=123'}), "ok", "499 requests left for 123 s"),
        ("t", (200, b"no json", {}), "ok", "answers, with a token"),
        ("t", (404, b"", {}), "ok", "answers, with a token"),
        ("t", (401, b"", {}), "warn", "Hub: got 401, expected access to it"),
        ("", (503, b"", {}), "warn", "got 503"),
    ],
)
def test_what_the_hub_says_is_said(
    token: str,
    answer: tuple[int, bytes, dict[str, Any]],
    status: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with hub(answer[0], answer[1], **answer[2]) as asked:
        one = found("Hub")
    assert (one.status, says in one.says) == (status, True), one.says
    assert asked == ["/api/whoami-v2 Bearer t" if token else "/api/datasets?limit=1 None"]


def test_every_extra_is_known_and_one_that_old_metadata_lack_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert readiness._EXTRAS.keys() == project["optional-dependencies"].keys() - {"dev"}
    monkeypatch.setattr(readiness, "_names_of_extras", lambda: ["hub", "train"])
    old = found("extra publish")
    assert old.says == "for bundle and push; the metadata of this installation do not list it"
    assert old.todo == "if you need it: pip install 'ettin-data[publish]'"


def test_a_folder_of_temporary_files_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert (found("temporary files").status, str(tmp_path) in found("temporary files").says) == (
        "ok",
        True,
    )
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    away = found("temporary files")
    assert away.status == "warn"
    assert away.says.startswith(f"TMPDIR ({tmp_path / 'none'}) cannot be written; used instead: ")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    assert found("temporary files").status == "fail"
