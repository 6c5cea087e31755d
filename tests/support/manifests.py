"""Manifests of outputs that no build has made."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    Ledger,
    Manifest,
    MixtureRecord,
    OrderedWindow,
    OrderRecord,
    TokenizerRecord,
)
from pipeline.dataset.manifest import parse_manifest
from pipeline.dataset.sealed_json import seal


def window(folder: str, steps: tuple[int, int], rows: tuple[int, int]) -> OrderedWindow:
    """A window from its first step and row and those one past its last."""
    return OrderedWindow(
        folder=folder,
        first_step=steps[0],
        num_steps=steps[1] - steps[0],
        num_tokens=0,
        first_row=rows[0],
        num_rows=rows[1] - rows[0],
        multiset_root="",
    )


def manifest_of(windows: Sequence[OrderedWindow]) -> Manifest:
    """A manifest of windows, with empty text and zero for what does not follow from them."""
    num_rows = sum(one.num_rows for one in windows)
    nodes = np.zeros((-(-num_rows // ROWS_PER_NODE), DIGEST_BYTES), np.uint8)
    order = OrderRecord(
        key="", algorithm="", seed=0, epoch=0, view="stored", format="parquet",
        num_samples=num_rows, num_steps=sum(one.num_steps for one in windows), num_rows=num_rows,
        num_rows_dropped=0, num_tokens=0, num_tokens_dropped=0, num_tokens_cut=0,
        num_tokens_added=0, windows=tuple(windows), root_sha256="",
        ledger=Ledger(num_rows=num_rows, nodes=nodes, multiset=0).describe(),
    )  # fmt: skip
    return Manifest(
        code="",
        mixture=MixtureRecord(name="", fingerprint="", declaration={}, overrides=()),
        lock=None,
        tokenizer=TokenizerRecord(name="", sha256="", cls_id=0, sep_id=0),
        sources={},
        order=order,
        files={},
    )


def read_content(content: dict[str, Any]) -> Manifest:
    """A build's manifest from its JSON values, whatever their digest is."""
    manifest = parse_manifest(seal(content), "manifest.json")
    assert isinstance(manifest, Manifest)
    return manifest
