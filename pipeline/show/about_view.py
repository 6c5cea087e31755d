"""What an order is: its name, size and sources, and what of it is missing or damaged."""

from typing import Any

from pipeline.config import Mixture, load_config
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import PipelineError
from pipeline.show.commands import same_view
from pipeline.show.shown_order import Shown


def about_view(shown: Shown) -> dict[str, Any]:
    """Return what an order is."""
    order, manifest, positions = shown.order, shown.manifest, shown.positions
    return {
        "name": shown.name,
        "where": shown.where,
        "state": shown.state,
        "phase": positions.phase if positions is not None else "",
        "num_steps": 0 if positions is None else len(positions.first_rows) - 1,
        "num_rows": shown.num_rows,
        "num_tokens": None if manifest is None else manifest.order.num_tokens,
        "max_seq_len": None if order is None else order.max_seq_len,
        "view": None if order is None else order.view,
        "sources": [*shown.sources],
        "largest": [*shown.largest],
        "checkpoints": [{"name": name, "last_step": step} for name, step in shown.checkpoints()],
        "has_provenance": shown.trace is not None,
        "has_search_index": _has_search_index(shown),
        "has_tokenizer": _has_tokenizer(shown),
        "digest": None if order is None else order.digest,
        "problems": [*shown.problems],
        "assumptions": _assumptions(shown),
        **same_view(shown, "about", {}),
    }


def _assumptions(shown: Shown) -> list[dict[str, Any]]:
    """Return what the mixture assumes, if it ships; a manifest has what decides bytes alone."""
    manifest = shown.manifest
    if manifest is None:
        return []
    record = manifest.mixture
    try:
        declared = load_config(mixture_path(record.name), record.overrides)
    except PipelineError:
        return []
    if isinstance(declared, Mixture) and declared.fingerprint != record.fingerprint:
        # Another mixture of that name. What makes the archives of a replay is always another.
        return []
    return [
        {
            "says": one.says,
            "confidence": None if one.confidence is None else float(one.confidence),
            "because": [*one.because],
        }
        for one in declared.assumptions
    ]


def _has_tokenizer(shown: Shown) -> bool:
    try:
        return shown.tokenizer is not None
    except PipelineError:
        return False


def _has_search_index(shown: Shown) -> bool:
    """Return whether searches use one: without provenance there are none."""
    try:
        return shown.trace is not None and shown.search_index() is not None
    except PipelineError:
        return True  # A search says what is wrong with it.
