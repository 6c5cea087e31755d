"""What a report says, as values: from the views of an order, and from its exact strip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import NotFoundError, PipelineError
from pipeline.core.progress import ReportProgress, Work
from pipeline.dataset import TOKENIZER, Manifest
from pipeline.show.about_view import about_view
from pipeline.show.budget_view import budget_view
from pipeline.show.expected_share import expected_shares
from pipeline.show.report.mixture_text import declared_mixture
from pipeline.show.report.pictures import length_bars, strip_pictures, ticks
from pipeline.show.shown_order import Shown
from pipeline.show.strip import Strip

MOST_LISTED: Final = 500
"""Sources, and windows, that are listed each for itself; of all others the sum is."""
_NUM_COLUMNS = 240
_ROWS = Work(unit="rows")
_NUM_SAMPLES = 8
_SAMPLE_TOKENS = 200
_SAMPLE_CHARACTERS = 1000
_NAMES = {"pool": "Pool of rows", "published": "Published order"}
"""Of what has no name but that of its place."""
_FEW_ROWS = 10
"""Of fewer to a column, shares are less even than the band of a random order says."""
_SUMMED = (
    *("documents", "kept", "asked", "available", "drawn", "unused", "repeated", "added"),
    *("discarded", "validation"),
)


def report_content(shown: Shown, progress: ReportProgress) -> dict[str, Any]:
    """Return what a report says; parts that the order lacks are None, and a reason is noted.

    What a build has and cannot be read is a problem, as its output is then damaged.

    Raises: NotFoundError for an output that is not finished.
    """
    if shown.state == "unfinished":
        raise NotFoundError(
            f"{shown.where}: is not finished, so there is nothing to report yet",
            "run the same build again to finish it",
        )
    problems = dict.fromkeys(_placeless(shown, one) for one in shown.problems)
    notes: dict[str, None] = {}

    def known(part: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return part(shown, *arguments)
        except PipelineError as error:
            is_damage = shown.trace is not None and not isinstance(error, NotFoundError)
            (problems if is_damage else notes)[_placeless(shown, error.message)] = None
            return None

    strip, budget = known(exact_strip, progress), known(_budget)
    content = {
        "name": _NAMES.get(shown.state, shown.name),
        "about": about_view(shown),
        "budget": budget,
        "rows": None if strip is None else _rows(shown, strip),
        "colours": {name: f"source-{number}" for number, name in enumerate(shown.largest, 1)},
        "samples": known(_samples),
        "assumed_tokenizer": _assumed_tokenizer(shown),
        "digests": known(_digests),
        "windows": known(_windows),
        "mixture": known(declared_mixture),
    }
    return {**content, "problems": [*problems], "notes": [*notes]}


def _placeless(shown: Shown, message: str) -> str:
    """Return a message without the place, which two who have the same bytes do not share."""
    places = {shown.where, str(Path(shown.where))}
    if shown.order is not None:
        places.add(shown.order.where)
    for place in sorted(places, key=len, reverse=True):
        message = message.replace(f"{place}/", "").removeprefix(f"{place}: ")
    return message


def exact_strip(shown: Shown, progress: ReportProgress) -> Strip:
    """Return the counts of all rows. Raises: NotFoundError, MismatchError as `Shown.need_trace`."""
    maker = shown.strip_maker
    if not shown.num_rows:
        raise NotFoundError("it has no full step, and so no rows")
    maker.start()
    while not maker.wait(0.2):
        progress("rows", int(maker.done * shown.num_rows), shown.num_rows, _ROWS)
    if maker.error is not None:
        raise maker.error
    assert maker.strip is not None
    progress("rows", shown.num_rows, shown.num_rows, _ROWS)
    return maker.strip


def _ranked(sources: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return sorted(sources, key=lambda one: (-one[key], one["name"]))


def _budget(shown: Shown) -> dict[str, Any]:
    answer = budget_view(shown)
    if not answer["sources"]:
        raise NotFoundError("its manifest has no sources, so its budgets are not known")
    ranked = _ranked(answer["sources"], "drawn")
    rest = ranked[MOST_LISTED:]
    reasons: dict[str, int] = {}
    for one in ranked:
        for reason, dropped in one["dropped"].items():
            reasons[reason] = reasons.get(reason, 0) + dropped["documents"]
    return {
        **answer,
        "listed": ranked[:MOST_LISTED],
        "num_rest": len(rest),
        "rest": {key: sum(one[key] for one in rest) for key in _SUMMED},
        "used": [key for key in _SUMMED if any(one[key] for one in ranked)],
        "reasons": sorted(reasons.items(), key=lambda one: (-one[1], one[0])),
    }


def _rows(shown: Shown, strip: Strip) -> dict[str, Any]:
    """Return the rows of the order by source, and pictures of them."""
    num_columns = min(_NUM_COLUMNS, len(strip.bounds) - 1)
    places = np.arange(num_columns + 1) * (len(strip.bounds) - 1) // max(num_columns, 1)
    strip = strip.joined(places)
    rows, tokens = strip.rows.sum(axis=0), strip.tokens.sum(axis=0)
    shares = strip.tokens / np.maximum(strip.tokens.sum(axis=1, keepdims=True), 1)
    outside = _outside(shown, strip, rows, tokens, shares)
    sources = [
        {
            "name": name,
            "rows": int(rows[place]),
            "tokens": int(tokens[place]),
            "share": int(tokens[place]) / max(int(tokens.sum()), 1),
            "lowest": float(shares[:, place].min()),
            "highest": float(shares[:, place].max()),
            "outside": int(outside[place]) if rows[place] >= _FEW_ROWS * num_columns else None,
            "bars": bars,
        }
        for place, (name, bars) in enumerate(
            zip(shown.sources, length_bars(strip.lengths), strict=True)
        )
    ]
    ranked = _ranked(sources, "tokens")
    rest = ranked[MOST_LISTED:]
    return {
        "listed": ranked[:MOST_LISTED],
        "num_rest": len(rest),
        "rest": {key: sum(one[key] for one in rest) for key in ("rows", "tokens", "share")},
        "charts": strip_pictures(strip, [shown.sources.index(name) for name in shown.largest]),
        "num_columns": num_columns,
        "num_rows": int(rows.sum()),
        "num_tokens": int(tokens.sum()),
        "repeated": int(strip.repeated.sum()),
        "later": int(strip.later.sum()),
        "lengths": [int(strip.shortest.min()), int(strip.longest.max())],
        "ticks": ticks([step / int(strip.bounds[-1]) for _, step in shown.checkpoints()]),
    }


def _outside(
    shown: Shown, strip: Strip, rows: Int64Array, tokens: Int64Array, shares: Any
) -> Int64Array:
    """Return, of each source, the columns whose share is outside of the band of a random order."""
    counted = strip.rows.sum(axis=1)
    outside = np.zeros(len(rows), np.int64)
    for column, num_rows in enumerate(counted.tolist()):
        band = expected_shares(rows, tokens, strip.squares, num_rows, shown.num_rows)
        outside += (shares[column] < band.low) | (shares[column] > band.high)
    return outside


def _samples(shown: Shown) -> list[dict[str, Any]]:
    """Return rows that are spread evenly over the order."""
    order, num_rows = shown.need_order(), shown.num_rows
    number = min(_NUM_SAMPLES, num_rows)
    chosen = [num_rows * (2 * place + 1) // (2 * number) for place in range(number)]
    samples = []
    for row, ids in zip(chosen, order.rows.take(np.array(chosen, np.int64)), strict=True):
        origin = None if shown.trace is None else shown.trace.provenance.rows(row, row + 1)[0]
        parts, num_shown = _parts(shown, ids)
        samples.append(
            {
                "row": row,
                "step": shown.step_of(row),
                "source": None if origin is None else origin.source,
                "document": None if origin is None else origin.document,
                "chunk": None if origin is None else origin.chunk,
                "num_chunks": None if origin is None else origin.num_chunks,
                "num_tokens": len(ids),
                "num_more": len(ids) - num_shown,
                "parts": parts,
            }
        )
    return samples


def _assumed_tokenizer(shown: Shown) -> str | None:
    """Return the name of the tokenizer that ids are read by, if the order does not name it."""
    folder = shown.folder
    is_named = shown.trace is not None or (folder is not None and (folder / TOKENIZER).is_file())
    if is_named or shown.order is None or shown.order.tokenizer_digest is not None:
        return None
    return shown.tokenizer.name


def _parts(shown: Shown, ids: Any) -> tuple[list[tuple[bool, str]], int]:
    """Return the start of a row as runs of text, each with whether it is a special token."""
    parts: list[tuple[bool, str]] = []
    num_characters = num_shown = 0
    for token in shown.token_text.tokens(ids[:_SAMPLE_TOKENS]):
        is_special = token["kind"] == "special"
        # Of a character that is spread over several tokens, the first has all of it.
        text = token.get("joined", "") if token["kind"] == "bytes" else token["text"]
        num_characters += len(text)
        if num_characters > _SAMPLE_CHARACTERS:
            break
        num_shown += 1
        if parts and not is_special and not parts[-1][0]:
            parts[-1] = (False, parts[-1][1] + text)
        else:
            parts.append((is_special, text))
    return parts, num_shown


def _digests(shown: Shown) -> list[tuple[str, str]]:
    """Return digests by what they are of."""
    ledger, manifest = shown.ledger, shown.manifest
    digests = [
        ("rows in order (sequence root of the ledger)", ledger.sequence_root),
        ("rows in any order (multiset root)", ledger.multiset_root),
    ]
    if isinstance(manifest, Manifest):
        digests += [
            ("steps", manifest.order.root_sha256),
            ("mixture (fingerprint)", manifest.mixture.fingerprint),
            (f"tokenizer {manifest.tokenizer.name}", manifest.tokenizer.sha256),
        ]
        if manifest.lock is not None:
            digests.append(("lock of the sources", manifest.lock))
    return digests


def _windows(shown: Shown) -> dict[str, Any]:
    windows = shown.need_manifest().order.windows
    listed = [
        {
            "name": name,
            "first_step": one.first_step + 1,
            "last_step": one.first_step + one.num_steps,
            "rows": one.num_rows,
            "tokens": one.num_tokens,
            "digest": one.multiset_root,
        }
        for (name, _), one in zip(shown.checkpoints(), windows, strict=True)
    ]
    return {"listed": listed[:MOST_LISTED], "num_rest": len(listed[MOST_LISTED:])}
