"""Proofs: followed from the row to the root by a few lines that know the specification alone."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from pipeline import dataset
from pipeline.core.errors import NotFoundError
from pipeline.dataset import Ledger, root_above
from pipeline.show import Shown, proof_view


def derive(what: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=f"ettin-data ledger-v1 {what}").digest()


def root_of(proof: dict, ids: list[int]) -> str:
    """Return the root that a row has by its proof: docs/spec/ledger.md, nothing else."""
    row = blake3(np.array([len(ids), *ids], "<u4").tobytes()).digest()
    assert row.hex() == proof["row_digest"]
    digests = [bytes.fromhex(one) for one in proof["node"]["row_digests"]]
    digests[proof["node"]["place"]] = row
    digest = derive("node", b"".join(digests))
    for step in proof["path"]:
        other = bytes.fromhex(step["digest"])
        digest = derive("parent", other + digest if step["side"] == "left" else digest + other)
    return derive("sequence", proof["num_rows"].to_bytes(8, "little") + digest).hex()


def test_a_proof_leads_from_the_row_to_the_root_of_the_manifest(
    shown: Shown, finished: Path
) -> None:
    root = json.loads((finished / "manifest.json").read_text())["order"]["ledger"]["sequence_root"]
    rows = dataset.open(finished).rows
    for row in (0, 17, shown.num_rows - 1):
        proof = proof_view(shown, row=row)
        assert proof["holds"]
        assert proof["sequence_root"] == root
        ids = rows.take(np.array([row]))[0].tolist()
        assert root_of(proof, ids) == root
        assert root_of({**proof, "row_digest": blake3(
            np.array([len(ids), *ids[:-1], ids[-1] ^ 1], "<u4").tobytes()
        ).hexdigest()}, [*ids[:-1], ids[-1] ^ 1]) != root  # fmt: skip


@given(num_nodes=st.integers(1, 70), data=st.data())
def test_the_path_of_every_node_leads_to_the_root(num_nodes: int, data: st.DataObject) -> None:
    nodes = np.random.default_rng(num_nodes).integers(0, 256, (num_nodes, 32), np.uint8)
    num_rows = 1024 * num_nodes - data.draw(st.integers(0, 1023))
    ledger = Ledger(num_rows=num_rows, nodes=nodes, multiset=0)
    node = data.draw(st.integers(0, num_nodes - 1))
    path = ledger.path(node)
    assert len(path) <= num_nodes.bit_length()
    digest = nodes[node].tobytes()
    for side, other in path:
        digest = derive("parent", other + digest if side == "left" else digest + other)
    found = derive("sequence", num_rows.to_bytes(8, "little") + digest).hex()
    assert found == ledger.sequence_root == root_above(nodes[node].tobytes(), path, num_rows)


def test_rows_of_another_ledger_do_not_hold(finished: Path) -> None:
    shown = Shown.open(finished)
    proof = proof_view(shown, row=0)
    other = Ledger(num_rows=shown.num_rows, nodes=shown.ledger.nodes ^ 1, multiset=0)
    shown.__dict__["ledger"] = other
    assert proof["holds"]
    assert not proof_view(shown, row=0)["holds"]


def test_a_shipped_manifest_says_what_is_published(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: Path
) -> None:
    module = sys.modules["pipeline.show.proof_view"]
    assert proof_view(shown, row=0)["published"] == "unknown"
    monkeypatch.setattr(module, "bundled_folder", lambda kind: tmp_path)
    shutil.copy(finished / "manifest.json", tmp_path / "mine.json")
    same = proof_view(shown, row=0)
    assert same["published"] == "yes"
    assert "the manifest 'mine', which ships, has this root" in same["published_why"]


def test_another_root_of_the_same_name_is_not_published(
    shown: Shown, sliced: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = sys.modules["pipeline.show.proof_view"]
    monkeypatch.setattr(module, "bundled_folder", lambda kind: tmp_path)
    shutil.copy(sliced / "manifest.json", tmp_path / "mine.json")
    other = proof_view(shown, row=0)
    assert other["published"] == "no"
    assert "is of another declaration, and has another root" in other["published_why"]


def test_there_is_no_proof_without_a_ledger_or_a_row(shown: Shown, finished: Path) -> None:
    with pytest.raises(NotFoundError, match="is not in the order, which has"):
        proof_view(shown, row=shown.num_rows)
    with pytest.raises(NotFoundError, match=r"has no ledger.*\n.*digest"):
        proof_view(Shown.open(finished / "order"), row=0)
