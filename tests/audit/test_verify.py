"""Every kind of damage, at random places of an output, is found, and the file named."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import builds

from pipeline.audit.verify.check_output import verify
from pipeline.core.errors import InputError
from pipeline.dataset import sealed_json
from pipeline.dataset.sealed_json import parse_pieces, seal

SEED = 20_250_807


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished output, to be damaged."""
    return shutil.copytree(finished, tmp_path / "out")


def _files(out: Path) -> list[str]:
    return sorted(builds.digests(out))


def _choose(out: Path, draw: random.Random) -> str:
    """Choose a file, each kind of file as likely as any other."""
    kinds: dict[str, list[str]] = {}
    for name in _files(out):
        kind = Path(name).suffix if name.endswith((".mds", ".parquet")) else Path(name).name
        kinds.setdefault(kind, []).append(name)
    assert {".mds", ".parquet", "index.json", "stats.json", "manifest.json"} <= set(kinds)
    return draw.choice(kinds[draw.choice(sorted(kinds))])


def test_an_intact_output_has_no_mismatch(out: Path) -> None:
    assert verify(out) == []
    assert verify(out, out / "manifest.json") == []


def test_a_manifest_is_parsed_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse(data: bytes) -> Any:
        parsed.append(data)
        return parse_pieces(data)

    monkeypatch.setattr(sealed_json, "parse_pieces", parse)
    for given in (None, shutil.copy(out / "manifest.json", out.parent)):
        parsed.clear()
        assert verify(out, given and Path(given)) == []
        assert len(parsed) == 1


def test_every_single_bit_flip_is_found_and_named(out: Path) -> None:
    draw = random.Random(SEED)
    for _ in range(300):
        name = _choose(out, draw)
        data = (out / name).read_bytes()
        place = draw.randrange(len(data))
        flipped = bytes([data[place] ^ 1 << draw.randrange(8)])
        (out / name).write_bytes(data[:place] + flipped + data[place + 1 :])
        assert _named(verify(out)) == {name}, f"{name} at byte {place}"
        (out / name).write_bytes(data)
    assert verify(out) == []


def _named(mismatches: list[str]) -> set[str]:
    named = {mismatch.partition(": ")[0] for mismatch in mismatches}
    if "manifest.json" in named:
        # A damaged manifest may also be wrong on files, which are then named beside it.
        return {"manifest.json"}
    return named


@pytest.mark.parametrize("spare", [0, 1, 17])
def test_every_truncation_is_found_and_named(spare: int, out: Path) -> None:
    draw = random.Random(SEED + spare)
    for _ in range(50):
        name = _choose(out, draw)
        data = (out / name).read_bytes()
        left = min(spare, len(data) - 1) if draw.random() < 0.2 else draw.randrange(len(data))
        (out / name).write_bytes(data[:left])
        mismatches = verify(out)
        assert _named(mismatches) == {name}
        if name != "manifest.json":
            assert mismatches == [f"{name}: has {left} bytes, manifest says {len(data)}"]
        (out / name).write_bytes(data)


def test_every_appended_byte_is_found_and_named(out: Path) -> None:
    draw = random.Random(SEED)
    for _ in range(60):
        name = _choose(out, draw)
        data = (out / name).read_bytes()
        (out / name).write_bytes(data + draw.choice([b"\0", b"\n", b" ", b"x"]))
        assert _named(verify(out)) == {name}
        (out / name).write_bytes(data)


def test_every_deletion_is_found_and_named(out: Path) -> None:
    for name in _files(out):
        data = (out / name).read_bytes()
        (out / name).unlink()
        mismatches = verify(out)
        if name == "manifest.json":
            assert mismatches == ["manifest.json: cannot be read: No such file or directory"]
        else:
            assert mismatches == [f"{name}: is missing"]
        (out / name).write_bytes(data)
    assert verify(out) == []


def test_every_swap_of_two_files_names_both(out: Path) -> None:
    draw = random.Random(SEED)
    num_swaps = 0
    while num_swaps < 80:
        one, other = _choose(out, draw), _choose(out, draw)
        if (out / one).read_bytes() == (out / other).read_bytes():
            continue
        num_swaps += 1
        _swap(out / one, out / other)
        if "manifest.json" in (one, other):
            assert "manifest.json" in _named(verify(out))
        else:
            assert _named(verify(out)) == {one, other}
        _swap(out / one, out / other)
    assert verify(out) == []


def _swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def test_every_extra_file_is_found_and_named(out: Path) -> None:
    draw = random.Random(SEED)
    folders = sorted({(out / name).parent for name in _files(out)})
    for number in range(40):
        path = draw.choice(folders) / draw.choice([f"extra-{number}", f"new/{number}", ".hidden"])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        assert verify(out) == [f"{path.relative_to(out).as_posix()}: is not in the manifest"]
        path.unlink()
    (out / "train" / "link").symlink_to(out / "order")
    assert verify(out) == ["train/link: is not in the manifest"]


def test_a_file_that_became_a_folder_or_a_broken_link_is_missing(out: Path) -> None:
    (out / "train" / "index.json").unlink()
    (out / "train" / "index.json").mkdir()
    (out / "order" / "steps.parquet").unlink()
    (out / "order" / "steps.parquet").symlink_to("nowhere")
    assert verify(out) == ["order/steps.parquet: is missing", "train/index.json: is missing"]


def test_a_file_whose_size_stayed_is_told_by_its_digest(out: Path) -> None:
    path = out / "train" / "index.json"
    data = path.read_bytes()
    path.write_bytes(b"[" + data[1:])
    manifest = json.loads((out / "manifest.json").read_bytes())
    digest = manifest["files"]["train/index.json"]["sha256"]
    found = builds.digests(out)["train/index.json"]
    assert verify(out) == [f"train/index.json: sha256 is {found}, manifest says {digest}"]


def _damage_many(out: Path) -> set[str]:
    draw = random.Random(SEED)
    damaged = set(draw.sample([name for name in _files(out) if name != "manifest.json"], 25))
    for number, name in enumerate(sorted(damaged)):
        data = (out / name).read_bytes()
        if number % 3 == 0:
            (out / name).unlink()
        else:
            (out / name).write_bytes(data[:-1] if number % 3 == 1 else data + b"x")
    (out / "train" / "extra").write_text("")
    return {*damaged, "train/extra"}


def test_all_mismatches_are_listed_sorted_and_once(out: Path) -> None:
    damaged = _damage_many(out)
    mismatches = verify(out)
    assert [mismatch.partition(": ")[0] for mismatch in mismatches] == sorted(damaged)


def test_a_damaged_manifest_does_not_hide_other_damage(out: Path) -> None:
    damaged = _damage_many(out)
    data = (out / "manifest.json").read_bytes()
    (out / "manifest.json").write_bytes(data.replace(b'"code": "ettin', b'"code": "Ettin'))
    mismatches = verify(out)
    named = [mismatch.partition(": ")[0] for mismatch in mismatches]
    assert named == sorted({*damaged, "manifest.json"})
    assert "manifest.json: is damaged: its digest does not match its content" in mismatches


def test_a_manifest_written_otherwise_is_not_the_one_written(out: Path) -> None:
    content = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_text(json.dumps(content, sort_keys=True))
    assert _named(verify(out)) == {"manifest.json"}


def test_another_manifest_finds_the_same_output_good(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "pinned.json"
    shutil.copy(out / "manifest.json", other)
    assert verify(out, other) == []


def _change(
    manifest: Path, other: Path, change: Callable[[dict[str, dict[str, int]]], None]
) -> None:
    content = json.loads(manifest.read_bytes())
    change(content["files"])
    other.write_bytes(seal(content))


def test_another_manifest_names_what_differs(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "pinned.json"

    def change(files: dict[str, dict[str, Any]]) -> None:
        del files["train/index.json"]
        files["train/new.mds"] = {"bytes": 1, "sha256": "0"}
        files["order/steps.parquet"]["bytes"] += 1

    _change(out / "manifest.json", other, change)
    steps = (out / "order" / "steps.parquet").stat().st_size
    assert verify(out, other) == [
        f"manifest.json: differs from {other}",
        f"order/steps.parquet: has {steps} bytes, manifest says {steps + 1}",
        "train/index.json: is not in the manifest",
        "train/new.mds: is missing",
    ]
    (out / "manifest.json").unlink()
    assert "manifest.json: is missing" in verify(out, other)


def test_a_given_manifest_that_is_damaged_cannot_be_used(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "pinned.json"
    other.write_bytes((out / "manifest.json").read_bytes() + b" ")
    with pytest.raises(InputError, match=r"pinned\.json: is damaged.*\nhint: get the"):
        verify(out, other)
    with pytest.raises(InputError, match=r"none\.json: cannot be read: No such file or directory"):
        verify(out, tmp_path / "none.json")


def test_a_folder_that_is_missing_or_a_file_is_misuse(out: Path) -> None:
    for wrong in (out / "nothing", out / "manifest.json"):
        with pytest.raises(InputError, match=r"got no folder, expected the output of a build$"):
            verify(wrong)


def test_the_command_lists_every_mismatch_and_exits_1(out: Path) -> None:
    assert builds.run("verify", out).returncode == 0
    damaged = _damage_many(out)
    done = builds.run("verify", out)
    assert done.returncode == 1
    assert all(line.startswith("verify: ") for line in done.stderr.splitlines())
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == sorted(damaged)
    done = builds.run("verify", out, "--json")
    assert done.returncode == 1
    content = json.loads(done.stdout)
    assert content["out"] == str(out)
    assert [line.partition(": ")[0] for line in content["mismatches"]] == sorted(damaged)


def test_the_command_names_a_damaged_or_missing_manifest(out: Path) -> None:
    data = (out / "manifest.json").read_bytes()
    (out / "manifest.json").write_bytes(data[: len(data) // 2])
    done = builds.run("verify", out)
    assert done.returncode == 1
    assert done.stdout.startswith("manifest.json: is damaged")
    (out / "manifest.json").unlink()
    done = builds.run("verify", out)
    assert done.returncode == 1
    assert done.stdout.startswith("manifest.json: cannot be read: No such file")


def test_the_command_exits_2_where_there_is_nothing_to_verify(tmp_path: Path) -> None:
    done = builds.run("verify", tmp_path / "none", "--json")
    assert done.returncode == 2
    assert "got no folder, expected the output of a build" in done.stderr
    assert "got no folder" in json.loads(done.stdout)["error"]


def test_a_file_name_that_is_no_text_is_named_all_the_same(out: Path) -> None:
    extra = os.fsencode(out) + b"/train/\xff\n.mds"
    with open(extra, "wb"):
        pass
    assert verify(out) == [r"train/\udcff\n.mds: is not in the manifest"]
    done = builds.run("verify", out)
    assert (done.returncode, "error" in done.stderr) == (1, False)
    assert done.stdout == "train/\\udcff\\n.mds: is not in the manifest\n"
