"""Builds give the bytes that they always gave, and those of the reference chain.

The small goldens need nothing outside the repository; `tests/golden/PROVENANCE.md` says where they
come from. Those of the reference chain lie beside the checkout, where there is one.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds, paths
from support.clusters import Build
from support.paths import SHARED

from pipeline.order import pcg64dxsm_permutation

GOLDEN = paths.GOLDEN
REFERENCE = SHARED / "golden"
PUBLISHED = SHARED / "published"
NAMES = ("reencode-1024", "reencode-8192-eos", "reencode-edge", "slice-1024", "slice-edge")
READINGS = ("retokenize-1024", "slice2-1024", "slice2-8000")
VIEWS = ("encoder", "decoder")

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)


@needs_reference
@pytest.mark.parametrize("name", NAMES)
def test_builds_equal_the_reference_chain(name: str, tmp_path: Path, build_here: Build) -> None:
    golden = REFERENCE / name
    told = json.loads((golden / "order" / "golden.json").read_bytes())
    seed, epoch = told["setup"]["shuffle_seed"], told["setup"]["epoch"]
    for view in VIEWS:
        out = build_here(golden / "mixture.yaml", tmp_path / view, f"order.view={view}")
        expected = builds.digests(golden / "train")
        assert len(expected) > 5
        assert builds.differences(builds.digests(out / "train"), expected) == []

        folder = Path("order", "checkpoint_000001")
        rows = golden / "order" / view / "checkpoint_000001"
        files = sorted(path.name for path in rows.iterdir())
        assert sorted(path.name for path in (out / folder).iterdir()) == files
        assert sorted(path.name for path in (out / "order").iterdir()) == [
            "checkpoint_000001",
            "steps.parquet",
        ]
        for file in files:
            assert _rows(out / folder / file).equals(_rows(rows / file)), file

        steps = pq.read_table(out / "order" / "steps.parquet")
        assert steps["sha256"].to_pylist() == told[view]["step_sha256"]
        manifest = json.loads((out / "manifest.json").read_bytes())
        assert manifest["order"]["num_samples"] == told[view]["samples"]
        assert manifest["order"]["num_steps"] == told[view]["steps"] == steps.num_rows

        num_rows = manifest["order"]["num_rows"]
        indices = pcg64dxsm_permutation(told[view]["samples"], seed=seed, epoch=epoch)[:num_rows]
        batch = num_rows // told[view]["steps"]
        assert indices[:batch].tolist() == told["indices_first_step"]
        assert indices[-batch:].tolist() == told["indices_last_step"]
        assert _indices_sha256(indices) == told["all_indices_sha256"]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the readings do not lie at {PUBLISHED}")
@pytest.mark.parametrize("name", READINGS)
def test_builds_equal_the_readings_of_published_rows(
    name: str, tmp_path: Path, build_here: Build
) -> None:
    golden = PUBLISHED / name
    told = json.loads((golden / "order" / "golden.json").read_bytes())
    for view in ("stored", *VIEWS):
        out = build_here(golden / "mixture.yaml", tmp_path / view, f"order.view={view}")
        made = builds.digests(out / "train")
        shards = {path: digest for path, digest in made.items() if path.endswith(".mds")}
        assert shards == told["shards_sha256"]
        steps = pq.read_table(out / "order" / "steps.parquet")
        assert steps["sha256"].to_pylist() == told[view]["step_sha256"]
        assert steps.num_rows == told["steps"]
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["order"]["num_samples"] == told["samples"]
    made_of = {
        one["folder"].removeprefix("train/"): one
        for source in manifest["sources"].values()
        for one in source["partitions"]
    }
    assert set(made_of) == set(told["counts"])
    for folder, counts in told["counts"].items():
        tokens, chunks = made_of[folder]["tokens"], made_of[folder]["chunks"]
        assert (chunks["written"], tokens["written"], tokens["discarded"]) == (
            counts["rows"],
            counts["num_tokens"],
            counts["skipped"],
        )
    # Of some, what lies beside the shards is known too.
    files = builds.digests(golden / "train") if (golden / "train").is_dir() else {}
    assert {path: made[path] for path in files} == files
    assert not files or {Path(path).name for path in files} > {"num_tokens.json", "index.json"}


def _rows(path: Path) -> pa.Table:
    schema = pa.schema([("input_ids", pa.list_(pa.uint32())), ("step", pa.int64())])
    return pq.read_table(path).cast(schema)


def _indices_sha256(indices: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(indices.astype("<u8").tobytes()).hexdigest()


_PIECES = {
    "contractions": "I do n't think that 's it , he 'd 've said . \" Yes ! \" ? No ' m 're . ",
    "spaces": "a  b   c    d\t\te\n\n\nf \n g \u00a0 h\u3000i\r\n\r\n        deep\n\t\tdeeper ",
    "marks": " .  , ! ? ;  ... ,,, !!! ?! (. ) [ , ] { ! } <? > ",
    "unicode": "cafe\u0301 nai\u0308ve Å ﬃ ｆｕｌｌ 한국어 עברית العربية 𝔘𝔫𝔦 👩‍👩‍👧 e\u0328\u0301 ",
    "numbers": "1 12 123 1234 3.14159 1,000,000 0xDEADBEEF 1e-9 ½ ² 2024-01-31 ",
    "specials": "[CLS] [SEP] [MASK] [PAD] [UNK] <|endoftext|> |||IP_ADDRESS||| [CLS][SEP] ",
    "code": "def f(x):\n    return {x: [x ** 2 for _ in range(3)]}  # don't\n\n\nclass A: ...\n",
    "word": "x" * 700 + " " + "ab" * 300 + " ",
    "leading": "   starts with spaces and goes on . ",
}


def _quirks() -> list[dict[str, str]]:
    """Return documents of every length around the edges of a chunk, and of hostile text."""
    documents = [{"id": name, "text": piece * 12} for name, piece in _PIECES.items()]
    documents += [{"id": f"short-{n}", "text": "word" + " word" * n} for n in (0, 1, 5, 13, 14, 15)]
    # With CLS and SEP these are 126 to 130 ids long, and twice that.
    documents += [{"id": f"edge-{n}", "text": "word" + " word" * n} for n in range(123, 128)]
    documents += [{"id": f"edge-{n}", "text": "word" + " word" * n} for n in range(249, 256)]
    documents += [{"id": f"tail-{n}", "text": "word" + " word" * n} for n in (268, 270, 310, 320)]
    documents += [{"id": f"mixed-{n}", "text": builds.text(f"m{n}", 90 * n)} for n in range(1, 12)]
    documents += [{"id": "no-space", "text": "".join(_PIECES.values()).replace(" ", "")}]
    return documents


_ETTIN = "size: 128, min_size: 64, skip_below: 16, seed: 42"
_CHUNKS = {
    "reencode": (f"algorithm: ettin-reencode-v1, {_ETTIN}", "true", "uint32"),
    "slice": (f"algorithm: ettin-slice-v1, {_ETTIN}", "false", "uint16"),
    "slice-prefixed": (f"algorithm: ettin-slice-v1, add_eos: true, {_ETTIN}", "true", "uint32"),
    "slice2": (f"algorithm: ettin-slice-v2, {_ETTIN}", "false", "uint16"),
    "retokenize": (f"algorithm: ettin-retokenize-v1, {_ETTIN}", "false", "uint16"),
    "whole": ("algorithm: whole-v1, size: 128", "false", "uint32"),
}


def _write_quirks(folder: Path, name: str) -> Path:
    chunk, has_prefix_space, dtype = _CHUNKS[name]
    documents = _quirks()
    for number, part in enumerate((documents[::2], documents[1::2])):
        path = folder / "in" / f"quirks-{number}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builds.json_lines(part))
    (folder / "in" / "drawn.jsonl").write_bytes(builds.json_lines(documents))
    return builds.write_mixture(
        folder,
        f"""\
name: golden-{name}
tokenizer: {{name: modernbert, add_prefix_space: {has_prefix_space}}}
chunk: {{{chunk}}}
sources:
  quirks: {{from: {{path: "in/quirks-*.jsonl"}}}}
  drawn: {{from: {{path: in/drawn.jsonl}}, tokens: 4000}}
  repeated: {{from: {{path: in/drawn.jsonl}}, epochs: 4/3}}
sample: {{seed: 7}}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  global_batch_size: 8
  max_seq_len: 120
  allow_cut: true
  window_tokens: 20k
shards: {{dtype: {dtype}, size_limit: 4KiB}}
on_error: skip
""",
    )


def _describe(outs: dict[str, Path]) -> dict[str, Any]:
    """Return what is frozen of builds of one mixture under each view."""
    stored = outs["stored"]
    manifest = json.loads((stored / "manifest.json").read_bytes())
    order = manifest["order"]
    return {
        "train": builds.digests(stored / "train"),
        "sources": {
            name: {about: made[about] for about in ("documents", "tokens", "chunks")}
            for name, made in manifest["sources"].items()
        },
        "order": {
            "num_samples": order["num_samples"],
            "sequence_root": order["ledger"]["sequence_root"],
            "multiset_root": order["ledger"]["multiset_root"],
            "windows": order["windows"],
            "indices_sha256": _indices_sha256(
                pcg64dxsm_permutation(order["num_samples"], seed=21, epoch=0)[: order["num_rows"]]
            ),
        },
        "step_sha256": {
            view: pq.read_table(out / "order" / "steps.parquet")["sha256"].to_pylist()
            for view, out in outs.items()
        },
    }


@pytest.mark.parametrize("name", sorted(_CHUNKS))
def test_small_builds_equal_their_frozen_digests(
    name: str, tmp_path: Path, build_here: Build
) -> None:
    mixture = _write_quirks(tmp_path, name)
    outs = {
        view: build_here(mixture, tmp_path / view, f"order.view={view}")
        for view in ("stored", *VIEWS)
    }
    for out in outs.values():
        assert builds.digests(out / "train") == builds.digests(outs["stored"] / "train")
    made = _describe(outs)
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    frozen = json.loads(golden.read_bytes())
    assert len(frozen["train"]) > 20
    for part in ("sources", "train", "order", "step_sha256"):
        assert made[part] == frozen[part], part


def test_small_goldens_show_every_quirk() -> None:
    """Guards against goldens that would hold whatever the chunkers did."""
    frozen = {name: json.loads((GOLDEN / f"{name}.json").read_bytes()) for name in _CHUNKS}
    digests = [tuple(frozen[name]["train"].values()) for name in _CHUNKS]
    assert len(set(digests)) == len(_CHUNKS)
    for name, golden in frozen.items():
        tokens = golden["sources"]["quirks"]["tokens"]
        assert (tokens["discarded"] > 0) == (name != "whole"), name
        assert len(golden["order"]["windows"]) > 1
        views = golden["step_sha256"]
        pairs = (("encoder", "decoder"), ("decoder", "stored"), ("encoder", "stored"))
        assert [pair for pair in pairs if views[pair[0]] == views[pair[1]]] == [], name
        assert golden["sources"]["repeated"]["tokens"]["drawn"] > tokens["written"]
