"""Where a server gives no hash of content, a first build records it, and later ones compare."""

import os
from pathlib import Path

import pytest
from support import builds
from support.source_server import serve

from pipeline.core.digest import sha256_bytes
from pipeline.sources.lock.lock_file import read_lock

MIXTURE = """\
name: plain
chunk: {size: 128}
sources:
  plain: {from: {url: "ENDPOINT/files/web/a.jsonl"}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
NOT_KEPT = "--no-keep-raw"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([NOT_KEPT], []),
        pytest.param([], [NOT_KEPT], marks=pytest.mark.slow),
    ],
)
def test_a_build_records_what_came_and_a_later_one_compares(
    first: list[str], later: list[str], tmp_path: Path
) -> None:
    served = tmp_path / "web" / "a.jsonl"
    served.parent.mkdir()
    content = builds.json_lines(builds.documents("web", 30, 200))
    served.write_bytes(content)
    before = served.stat()
    mixture, path = tmp_path / "plain.yaml", tmp_path / "manifests" / "plain.lock.json"
    # Only the time of the last change tells versions apart.
    with serve({}, files={"web": served.parent}, etags=False) as server:
        mixture.write_text(MIXTURE.replace("ENDPOINT", server.endpoint))
        builds.run_well("lock", mixture, cwd=tmp_path)
        [file] = read_lock(path).sources["plain"].files
        assert file.digest.startswith("etag:")
        assert file.sha256 is None

        def arguments(name: str, more: list[str]) -> list[str | Path]:
            paths = ["--out", name, "--raw", f"{name}.raw"]
            return ["build", mixture, *paths, "--workers", "1", *more]

        builds.run_well(*arguments("one", first), cwd=tmp_path)
        [file] = read_lock(path).sources["plain"].files
        assert file.sha256 == sha256_bytes(content)

        served.write_bytes(content.replace(b"e", b"E", 1))
        os.utime(served, ns=(before.st_atime_ns, before.st_mtime_ns))
        refused = builds.run(*arguments("two", later), cwd=tmp_path)
        assert refused.returncode == 1
        assert "a.jsonl: is sha256:" in refused.stderr
        assert f"the lock says sha256:{file.sha256}" in refused.stderr
        assert not (tmp_path / "two" / "manifest.json").exists()

        served.write_bytes(content)
        os.utime(served, ns=(before.st_atime_ns, before.st_mtime_ns))
        builds.run_well(*arguments("two", later), cwd=tmp_path)
    assert builds.digests(tmp_path / "one") == builds.digests(tmp_path / "two")
