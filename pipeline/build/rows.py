"""Rows: the drawn shards -> files of rows in order, and the table of steps."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.build.ordering import OrderTask, SavedOrder, order_rows
from pipeline.build.site import Site
from pipeline.build.table import load_table
from pipeline.build.task import Record, files_of
from pipeline.digest import fingerprint, sha256_bytes
from pipeline.files import publish
from pipeline.layout import STEPS
from pipeline.orders.pcg64dxsm import permutation
from pipeline.shards.parquet import write_steps
from pipeline.steps import split_files, split_windows, step_tokens
from pipeline.version import VERSION
from pipeline.view import view_edits, view_lengths


def write_rows(
    site: Site, records: dict[str, list[Record]], pool_digest: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order all rows and write them; return the manifest's part on it, and the files."""
    spec = site.mixture.order
    folders = [record["folder"] for _, made in sorted(records.items()) for record in made]
    table = np.concatenate([load_table(site.state, folder) for folder in folders])
    rules = (table["has_cls"], table["has_sep"], spec.view, spec.max_seq_len)
    cut, added = view_edits(table["length"].astype(np.int64), *rules)
    saved = _save_order(site, table)
    row_tokens = saved.view_lengths[saved.rows].astype(np.int64)
    tokens = step_tokens(row_tokens, spec.global_batch_size)
    windows = split_windows(tokens, spec.window_tokens, site.mixture.phase)
    key = fingerprint(
        {
            "version": VERSION,
            "pool": pool_digest,
            "tokenizer": site.tokenizer.digest,
            "order": site.mixture.declaration()["order"],
        }
    )
    tasks = [
        OrderTask(
            out=site.state.out,
            file=file,
            key=key,
            run=site.run,
            batch_size=spec.global_batch_size,
            view=spec.view,
            cls_id=site.tokenizer.cls_id,
            sep_id=site.tokenizer.sep_id,
        )
        for window in windows
        for file in split_files(window)
    ]
    made = site.engine.map("order", order_rows, tasks)
    digests = [digest for record in made for digest in record["sha256"]]
    files = files_of(made)
    files.update(_write_steps(site, tokens, digests))
    num_rows = len(tokens) * spec.global_batch_size
    described = {
        "key": key,
        "algorithm": spec.algorithm,
        "seed": spec.seed,
        "epoch": spec.epoch,
        "view": spec.view,
        "num_samples": len(table),
        "num_steps": len(tokens),
        "num_rows": num_rows,
        "num_rows_dropped": len(table) - num_rows,
        "num_tokens": int(tokens.sum()),
        "num_tokens_dropped": int(row_tokens.sum() - tokens.sum()),
        "num_tokens_cut": int(cut.sum()),
        "num_tokens_added": int(added.sum()),
        "windows": [asdict(window) for window in windows],
        "root_sha256": sha256_bytes(b"".join(bytes.fromhex(digest) for digest in digests)),
    }
    return described, files


def _save_order(site: Site, table: NDArray[np.void]) -> SavedOrder:
    spec = site.mixture.order
    lengths = table["length"].astype(np.int64)
    viewed = view_lengths(lengths, table["has_cls"], table["has_sep"], spec.view, spec.max_seq_len)
    order = SavedOrder(
        rows=permutation(len(table), seed=spec.seed, epoch=spec.epoch),
        lengths=lengths.astype(np.uint32),
        view_lengths=viewed.astype(np.uint32),
    )
    order.save(site.state)
    return order


def _write_steps(site: Site, tokens: NDArray[np.int64], digests: list[str]) -> dict[str, Any]:
    made = site.state.root / STEPS
    num_rows = np.full(len(tokens), site.mixture.order.global_batch_size, np.int64)
    with publish(made, site.state.scratch) as temporary:
        write_steps(
            temporary,
            num_rows=num_rows,
            num_tokens=tokens,
            sha256=digests,
            origin=site.mixture.fingerprint,
        )
    return site.publish(STEPS, made.read_bytes())
