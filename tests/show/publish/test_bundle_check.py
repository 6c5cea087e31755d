"""A check of a bundle: whatever is changed, added or gone is named, one line each."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import builds
from support.published import Place

from pipeline.core.digest import FileDigest
from pipeline.show.publish.bundle_check import check_bundle
from pipeline.show.publish.bundle_record import BundleRecord, read_record, write_record
from pipeline.show.publish.sign import load_signer, sign_bundle


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    """A bundle to be damaged, with no link to another."""
    shutil.copytree(signed, tmp_path / "copy")
    return tmp_path / "copy"


def check(folder: Path, *options: str | Path) -> tuple[int, list[str]]:
    """Return the exit code, and the mismatches or the error."""
    done = builds.run("bundle", "--check", folder, *options)
    lines = done.stdout.splitlines() or done.stderr.splitlines()[:1]
    return done.returncode, lines


def test_a_bundle_is_as_it_was_written(signed: Path, keys: Path) -> None:
    code, lines = check(signed, "--key", keys / "own.pub")
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith(f"{signed}: every file is as it was written, signed by")


def test_what_the_hub_and_its_client_add_is_no_part_of_it(copy: Path, keys: Path) -> None:
    (copy / ".gitattributes").write_text("*.parquet filter=lfs\n")
    cache = copy / ".cache/huggingface"
    (cache / "download/order").mkdir(parents=True)
    for name in ("README.md.metadata", "README.md.lock", "order/steps.parquet.metadata"):
        (cache / "download" / name).write_text("x")
    (cache / ".gitignore").write_text("*")
    (cache / "CACHEDIR.TAG").write_text("x")
    assert check(copy, "--key", keys / "own.pub")[0] == 0


@pytest.mark.parametrize(
    "name",
    [
        *(".gitattributes-evil.py", ".gitattributes.d/a.py", ".cache/huggingface/evil/x.py"),
        *(".cache/huggingface/download/x.py.metadata", ".cache/x", ".gitignore", ".git/config"),
        ".cache/huggingface/trees/x.json",
    ],
)
def test_a_file_with_a_name_like_those_of_the_hub_is_named(
    copy: Path, keys: Path, name: str
) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_text("import this")
    assert f"{name}: is not in bundle.json" in check_bundle(copy, keys / "own.pub")


def test_a_link_is_never_in_a_bundle(copy: Path, keys: Path) -> None:
    outside = shutil.move(copy / "order", copy.parent / "outside")
    for name in ("order", ".gitattributes", "evil"):
        (copy / name).symlink_to(outside)
    shutil.move(copy / "README.md", outside)
    (copy / "README.md").symlink_to(copy.parent / "outside/README.md")
    lines = check_bundle(copy, keys / "own.pub")
    assert lines[0] == "README.md: is a link, expected a file"
    assert [line for line in lines if line.endswith("is not in bundle.json")] == [
        f"{name}: is not in bundle.json" for name in (".gitattributes", "evil", "order")
    ]


def test_a_signature_that_does_not_cover_every_file_is_refused(copy: Path, keys: Path) -> None:
    record, signed = read_record(copy), (copy / "bundle.sig").read_text()
    (copy / "more.txt").write_text("x")
    files = {**record.files, "more.txt": FileDigest.of(copy / "more.txt")}
    (copy / "bundle.json").rename(copy.parent / "bundle.json")
    (copy / "more.txt").rename(copy.parent / "more.txt")
    sign_bundle(copy, load_signer(keys / "own.pem"))
    assert (copy / "bundle.sig").read_text() != signed
    (copy.parent / "more.txt").rename(copy / "more.txt")
    write_record(copy, BundleRecord(code=record.code, manifest=record.manifest, files=files))
    [line] = check_bundle(copy, keys / "own.pub")
    assert line.startswith("bundle.sig: is no signature of these files by")
    assert "bundle.json, more.txt" in line


def change(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


Change = Callable[[Path], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "a changed manifest": (
        lambda at: change(at, "manifest.json"),
        "manifest.json: sha256 is",
    ),
    "a changed card": (lambda at: change(at, "README.md"), "README.md: sha256 is"),
    "a changed row": (
        lambda at: change(at, min(at.glob("order/*/*.parquet")).relative_to(at).as_posix()),
        "order/checkpoint_000001/steps",
    ),
    "a longer file": (
        lambda at: (at / "LICENSE.md").write_text("all rights reserved"),
        "LICENSE.md: has 19 bytes, bundle.json says",
    ),
    "a file that is gone": (
        lambda at: (at / "CITATION.cff").unlink(),
        "CITATION.cff: is missing",
    ),
    "one more file": (
        lambda at: (at / "order" / "more.parquet").write_text("x"),
        "order/more.parquet: is not in bundle.json",
    ),
    "a changed record": (
        lambda at: change(at, "bundle.json"),
        "bundle.json: ",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named(copy: Path, keys: Path, name: str) -> None:
    damage, expected = CHANGES[name]
    damage(copy)
    code, lines = check(copy, "--key", keys / "own.pub")
    assert code == 1
    assert any(line.startswith(expected) for line in lines), lines
    assert all(line.count("\n") == 0 for line in lines)


def rewrite(folder: Path, name: str, text: str) -> None:
    """Change a file and the record with it, as somebody would who signs nothing."""
    (folder / name).write_text(text)
    record = read_record(folder)
    files = {**record.files, name: FileDigest.of(folder / name)}
    write_record(folder, BundleRecord(code=record.code, manifest=record.manifest, files=files))


def test_a_record_that_was_made_again_is_caught_by_the_signature(copy: Path, keys: Path) -> None:
    rewrite(copy, "LICENSE.md", "public domain")
    code, [line] = check(copy, "--key", keys / "own.pub")
    assert code == 1
    assert line.startswith("bundle.sig: is no signature of these files by")
    assert "LICENSE.md" in line


def test_files_that_contradict_one_another_are_named(copy: Path) -> None:
    (copy / "bundle.sig").unlink()
    croissant = json.loads((copy / "croissant.json").read_text())
    del croissant["distribution"][0]["contentUrl"]
    rewrite(copy, "croissant.json", json.dumps(croissant))
    rewrite(copy, "README.md", "no front matter")
    rewrite(copy, "CITATION.cff", "title: x")
    rewrite(copy, "ledger.json", "{}")
    mixture = (copy / "mixture.yaml").read_text()
    rewrite(copy, "mixture.yaml", mixture.replace("seed: 21", "seed: 22"))
    rows = next(copy.glob("order/*/*.parquet")).relative_to(copy).as_posix()
    rewrite(copy, rows, "no rows")
    lines = check_bundle(copy, None)
    assert [line.split(": ")[0] for line in lines] == [
        *(rows, "ledger.json", "mixture.yaml", "croissant.json", "README.md", "CITATION.cff")
    ]


def test_another_manifest_is_refused(copy: Path) -> None:
    (copy / "bundle.sig").unlink()
    text = (copy / "manifest.json").read_text()
    rewrite(copy, "manifest.json", text.replace('"seed": 21', '"seed": 22'))
    [line] = check_bundle(copy, None)
    assert line.startswith("manifest.json: is damaged")


@pytest.mark.parametrize(
    ("key", "code", "expected"),
    [
        ("other.pub", 1, "bundle.sig: is no signature of these files by"),
        ("gone.pub", 2, "gone.pub: cannot be read"),
        ("own.pem", 2, "own.pem: got another kind of file, expected a public key"),
        (None, 1, "bundle.sig: got no key, expected the signer's public key"),
    ],
)
def test_a_wrong_key_is_one_line(
    signed: Path, keys: Path, key: str | None, code: int, expected: str
) -> None:
    options = () if key is None else ("--key", keys / key)
    got, lines = check(signed, *options)
    assert (got, len(lines)) == (code, 1)
    assert expected in lines[0]


def test_a_bundle_without_a_signature_is_refused_where_one_is_asked_for(
    place: Place, keys: Path
) -> None:
    assert check(place.with_rows)[0] == 0
    code, lines = check(place.with_rows, "--key", keys / "own.pub")
    assert (code, lines) == (1, ["bundle.sig: is missing: the bundle is not signed"])


def test_a_damaged_signature_is_one_line(copy: Path, keys: Path) -> None:
    for text in ("", "{}", "no JSON", '{"mediaType": 7}'):
        (copy / "bundle.sig").write_text(text)
        code, lines = check(copy, "--key", keys / "own.pub")
        assert (code, len(lines)) == (1, 1)
        assert "bundle.sig: is no signature of these files by" in lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "cannot be read"), ("no key", "got another kind of file, expected a private key")],
)
def test_a_key_that_cannot_sign_is_refused_before_any_work(
    place: Place, tmp_path: Path, text: str | None, expected: str
) -> None:
    if text is not None:
        (tmp_path / "key.pem").write_text(text)
    done = place.bundle("--sign", tmp_path / "key.pem", out=tmp_path / "out")
    assert done.returncode == 2
    assert expected in done.stderr
    assert not (tmp_path / "out").exists()


def test_keys_of_another_kind_and_with_a_password_are_refused(place: Place, tmp_path: Path) -> None:
    rsa, locked = tmp_path / "rsa.pem", tmp_path / "locked.pem"
    make = ["openssl", "genpkey", "-algorithm"]
    subprocess.run([*make, "RSA", "-out", rsa], check=True, capture_output=True)
    curve = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x"]
    subprocess.run([*make, *curve, "-out", locked], check=True, capture_output=True)
    for key in (rsa, locked):
        done = place.bundle("--sign", key, out=tmp_path / "out")
        assert done.returncode == 2
        assert f"{key}: got another kind of file, expected a private key" in done.stderr


def test_the_tool_of_the_format_verifies_the_signature(copy: Path, keys: Path) -> None:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(copy), "--signature"]
    command += [str(copy / "bundle.sig"), "--public_key", str(keys / "own.pub")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    change(copy, "manifest.json")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_folder_that_is_no_bundle(place: Place) -> None:
    code, [line] = check(place.out)
    assert code == 2
    assert "got no bundle.json" in line
