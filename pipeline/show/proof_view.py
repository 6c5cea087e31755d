"""The proof of a row: its digest, its node, and the path from there to the root of the order."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.bundled import bundled_folder
from pipeline.core.errors import PipelineError
from pipeline.dataset import (
    ROWS_PER_NODE,
    Manifest,
    OrderManifest,
    node_digest,
    read_either,
    root_above,
    take_with_digests,
)
from pipeline.show.commands import same_view
from pipeline.show.shown_order import Shown


def proof_view(shown: Shown, row: int) -> dict[str, Any]:
    """Return how the digest of a row, from 0, leads to the root of the order.

    Whoever has the row can follow it with BLAKE3 alone (`docs/spec/ledger.md`). `holds` is whether
    the rows that are there give the node and the root that the manifest names.

    Raises: NotFoundError for a row that is not in the order, or an order without a ledger;
    InputError where the rows cannot be read.
    """
    ledger = shown.ledger
    shown.check_row(row, ledger.num_rows)
    number, place = divmod(row, ROWS_PER_NODE)
    first = number * ROWS_PER_NODE
    numbers = np.arange(first, min(first + ROWS_PER_NODE, ledger.num_rows))
    _, digests = take_with_digests(shown.unchecked_rows, numbers)
    found, path = node_digest(digests), ledger.path(number)
    return {
        "row": row,
        "row_digest": digests[place].tobytes().hex(),
        "node": {
            "number": number,
            "digest": found.hex(),
            "expected": ledger.nodes[number].tobytes().hex(),
            "place": place,
            "first_row": first,
            "row_digests": [one.tobytes().hex() for one in digests],
        },
        "path": [{"side": side, "digest": digest.hex()} for side, digest in path],
        "num_rows": ledger.num_rows,
        "sequence_root": ledger.sequence_root,
        "holds": root_above(found, path, ledger.num_rows) == ledger.sequence_root,
        **_published(shown, ledger.sequence_root),
        **same_view(shown, "proof", {"row": row}),
    }


def _published(shown: Shown, root: str) -> dict[str, Any]:
    """Return whether a manifest that ships has the order."""
    name = None if shown.manifest is None else shown.manifest.mixture.name
    same_name = []
    for stem, known in _manifests(bundled_folder("manifests")):
        if known.order.ledger.sequence_root == root:
            why = f"the manifest {stem!r}, which ships, has this root"
            return {"published": "yes", "published_why": why}
        if isinstance(known, Manifest) and known.mixture.name == name:
            same_name.append((stem, known))
    for stem, known in same_name:
        if shown.manifest is not None:
            is_same = known.mixture.fingerprint == shown.manifest.mixture.fingerprint
            what = "the same declaration" if is_same else "another declaration"
            why = f"the manifest {stem!r}, which ships, is of {what}, and has another root"
            return {"published": "no", "published_why": why}
    why = "no manifest that ships is of this order: compare it with one that you trust"
    return {"published": "unknown", "published_why": why}


@cache
def _manifests(folder: Path) -> list[tuple[str, Manifest | OrderManifest]]:
    """Return the manifests that ship, with their names: they are read once."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(PipelineError):
            found.append((path.stem, read_either(path)))
    return found
