"""The example of a mixture of one's own: filtered, deduplicated, decontaminated and split."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
import zstandard
from support import builds
from support.outputs import num_tokens, read_dropped, read_rows

from pipeline.stages.text_digest import normalise

SAMPLE = builds.REPOSITORY / "mixtures" / "sample"
SOURCES = ("code", "notes", "prose", "reference")
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as it ships, built by its name; all that is dropped is kept."""
    out = tmp_path_factory.mktemp("example") / "out"
    builds.run_well(
        *("build", "custom-example", "--set", "keep_dropped=1", "--out", out, "--workers", "2")
    )
    return out


@pytest.fixture(scope="module")
def manifest(out: Path) -> Manifest:
    """What the build says of itself."""
    manifest: Manifest = json.loads((out / "manifest.json").read_bytes())
    return manifest


def lines(source: str) -> Iterator[bytes]:
    for path in sorted((SAMPLE / source).iterdir()):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data).readall()
        yield from data.splitlines()


def texts_of(source: str) -> dict[str, str]:
    """Return the texts of a source of the sample by document."""
    if source == "notes":
        return {
            path.stem.replace("-", "_"): path.read_text()
            for path in sorted((SAMPLE / source).iterdir())
        }
    return {one["id"]: one["text"] for one in map(json.loads, lines(source))}


def test_what_enters_is_kept_or_dropped_for_a_reason(out: Path, manifest: Manifest) -> None:
    reasons: Counter[str] = Counter()
    for name in SOURCES:
        documents = manifest["sources"][name]["documents"]
        texts, dropped = texts_of(name), read_dropped(out, name)
        assert documents["in"] == len(texts) == documents["kept"] + len(dropped)
        assert Counter(one["reason"] for one in dropped) == documents["dropped"]
        gone = {one["id"] for one in dropped}
        written = {
            row.document
            for part in (out, out / "validation")
            if (part / "train" / name).exists()
            for row in read_rows(part / "train" / name)
        }
        assert gone < texts.keys()
        assert written <= texts.keys() - gone, "what was dropped is in no shard"
        reasons.update(documents["dropped"])
    assert len(reasons) > 1, "the example shows what filters do"
    words = {reason.partition("/")[0] for reason in reasons}
    assert words & {"length", "gopher_quality", "gopher_repetition", "fineweb_quality", "regex"}


def test_budgets_are_met_from_fewer_and_from_more_tokens(out: Path, manifest: Manifest) -> None:
    declared = yaml.safe_load((SAMPLE.parent / "custom-example.yaml").read_text())["sources"]
    assert (declared["reference"]["tokens"], declared["code"]["tokens"]) == ("20k", "8k")
    for name, asked in (("reference", 20_000), ("code", 8_000)):
        budget, rows = manifest["sources"][name]["budget"], read_rows(out / "train" / name)
        assert budget["asked"] == asked
        assert num_tokens(rows) == budget["drawn"] == asked + budget["overshoot"]
        assert 0 <= budget["overshoot"] < max(len(row.ids) for row in rows)
    assert manifest["sources"]["reference"]["budget"]["repeated"] > 0
    assert manifest["sources"]["code"]["budget"]["repeated"] == 0
    for name in ("notes", "prose"):
        budget = manifest["sources"][name]["budget"]
        assert budget["drawn"] == budget["available"] == num_tokens(read_rows(out / "train" / name))


def test_validation_is_of_other_documents_and_other_texts(out: Path, manifest: Manifest) -> None:
    aside, trained = set(), set()
    for name in SOURCES:
        texts = texts_of(name)
        tokens = manifest["sources"][name]["tokens"]
        rows = read_rows(out / "validation" / "train" / name)
        assert num_tokens(rows) == tokens["validation"] >= tokens["written"] * Fraction("0.02")
        ids = {row.document for row in rows}
        of_training = {row.document for row in read_rows(out / "train" / name)}
        assert ids
        assert ids.isdisjoint(of_training)
        aside |= {normalise(texts[id_]) for id_ in ids}
        trained |= {normalise(texts[id_]) for id_ in of_training}
    assert aside.isdisjoint(trained)


def test_the_example_and_its_validation_are_whole(out: Path) -> None:
    for folder in (out, out / "validation"):
        assert "every file matches the manifest" in builds.run_well("verify", folder)
    [row] = json.loads(builds.run_well("trace", out / "validation", "--row", "0", "--json"))
    assert row["document"] in texts_of(row["source"])


def test_a_changed_byte_of_validation_or_of_what_was_dropped_is_found(
    out: Path, tmp_path: Path
) -> None:
    for path in (
        *sorted((out / "validation" / "train").rglob("shard.00000.mds"))[:1],
        *sorted((out / "dropped").rglob("*.zst"))[:1],
    ):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        found = builds.run("verify", out)
        path.write_bytes(before)
        assert found.returncode == 1
        assert path.relative_to(out).as_posix() in found.stdout
