"""Step digests: a table of the sha256 of each step, without rows -> the steps that differ.

A digest says whether a step is equal. It also tells another view, seed or epoch, since the step can
be made under each, and steps that are shifted; what else differs only rows can tell.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.verify.alignment import ViewChoice
from pipeline.audit.verify.build_output import Output, ReplayedPool, make_permutation
from pipeline.audit.verify.comparison import Finding, finding
from pipeline.audit.verify.explain.order_search import SUMMED, other_keys
from pipeline.audit.verify.scope import Range
from pipeline.core.errors import ConfigError, InputError, NotFoundError
from pipeline.core.json_record import parse_json
from pipeline.core.mirrored import shown
from pipeline.core.progress import ReportProgress, Work, no_progress
from pipeline.core.regular_file import read_file
from pipeline.dataset import STEPS, RowSource
from pipeline.order import View

_SUFFIXES = (".csv", ".jsonl", ".ndjson")
_COLUMNS = ("step", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")
StepTable = tuple[int, list[str]]
"""The first step, and the digest of each from it on, in hex."""
# Other orders are made only of pools where each takes a second at most.
_MOST_POOL_ROWS = 1 << 22
_MOST_LISTED = 20
# Steps that tell the view; each is a batch of rows, made under each view.
_MOST_TRIED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """The steps of an output compared with a table of digests."""

    folder: Path
    what: str
    view: View
    why_view: str
    first: int
    """The first compared step, from 1."""
    num_compared: int
    num_missing: int
    """Steps that only one side has; 0 where a part was asked for."""
    differing: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def equal(self) -> bool:
        return not self.differing and not self.num_missing

    def as_json(self) -> dict[str, Any]:
        return {
            "out": shown(self.folder),
            "against": self.what,
            "kind": "step digests",
            "equal": self.equal,
            "view": self.view,
            "why_view": self.why_view,
            "first_step": self.first,
            "num_steps": self.num_compared,
            "num_missing": self.num_missing,
            "num_differing": len(self.differing),
            "first_difference": self.differing[0] if self.differing else None,
            "differing": list(self.differing[:_MOST_LISTED]),
            "findings": [asdict(one) for one in self.findings],
        }

    def lines(self) -> list[str]:
        steps = f"steps {self.first:,}:{self.first + self.num_compared:,}"
        found = [
            f"{shown(self.folder)} against {self.what} (step digests): {steps}, view {self.view}, "
            f"{self.why_view}"
        ]
        if self.differing:
            verb = "differs" if len(self.differing) == 1 else "differ"
            first = f"first step {self.differing[0]:,}"
            found.append(f"{steps}: {len(self.differing):,} {verb}, {first}")
        else:
            found.append(f"{steps} are equal")
        if self.num_missing:
            range_ = f"--steps {self.first}:{self.first + self.num_compared}"
            found.append(
                f"{self.num_missing:,} steps are on one side only; {range_} compares the others"
            )
        found += [f"{one.kind}: {one.text}" for one in self.findings]
        return [*found, "equal" if self.equal else "not equal"]


def is_step_table(what: str) -> bool:
    """Tell whether this is a file of step digests: by its suffix; of parquet, by its columns."""
    path = Path(what)
    if "://" in what or not path.is_file():
        return False
    if path.suffix != ".parquet":
        return path.suffix in _SUFFIXES
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return "sha256" in names and "input_ids" not in names


def verify_steps(
    folder: Path,
    what: str,
    *,
    steps: Range | None = None,
    window: int | None = None,
    view: ViewChoice = "auto",
    report: ReportProgress = no_progress,
) -> StepReport:
    """Compare the steps of an output with a table of their digests: `step`, from 1, and `sha256`.

    A digest is of each row's length and ids as uint32, little-endian, as in `order/steps.parquet`.
    Raises: InputError for a table that cannot be used; NotFoundError for steps that are not there.
    """
    output = Output.open(folder)
    start, theirs = read_step_table(Path(what))
    num_steps = output.num_rows // output.batch_size
    first, last = _asked(output, steps, window) or (start, min(start + len(theirs), num_steps + 1))
    is_whole = steps is None and window is None
    if not start <= first < last <= min(start + len(theirs), num_steps + 1):
        raise NotFoundError(
            f"{what}: has steps {start:,} to {start + len(theirs) - 1:,}, of which steps "
            f"{first:,}:{last:,} cannot be compared with the {num_steps:,} of {folder}",
            "steps count from 1, and the second number is one past the last",
        )
    asked = theirs[first - start : last - start]
    is_stored = (output.folder / STEPS).is_file()
    stored = read_step_table(output.folder / STEPS) if is_stored else None
    chosen, why = _choose_view(output, stored, view, first, asked)
    ours = _our_digests(output, stored, chosen, first, last, report)
    pairs = zip(range(first, last), ours, asked, strict=True)
    differing = tuple(step for step, one, other in pairs if one != other)
    return StepReport(
        folder=folder,
        what=what,
        view=chosen,
        why_view=why,
        first=first,
        num_compared=last - first,
        num_missing=abs(num_steps - (start + len(theirs) - 1)) + start - 1 if is_whole else 0,
        differing=differing,
        findings=tuple(_explain(output, chosen, first, ours, asked, differing)),
    )


def _asked(output: Output, steps: Range | None, window: int | None) -> Range | None:
    if steps is not None and window is not None:
        raise ConfigError("got two of --rows, --steps and --window, expected at most one")
    if window is None:
        return steps
    if not 1 <= window <= len(output.windows):
        given = f"{output.folder} has windows 1 to {len(output.windows)}"
        raise NotFoundError(f"--window {window}: {given}")
    found, size = output.windows[window - 1], output.batch_size
    return found.start // size + 1, found.stop // size + 1


def read_step_table(path: Path) -> StepTable:
    """Return the first step of a table, and the digests of consecutive steps from it on, in hex.

    Raises: InputError that names the first row or step that is wrong.
    """
    found: dict[int, str] = {}
    for number, (step, digest) in enumerate(_read_rows(path), 1):
        where = f"{path}: row {number}"
        if isinstance(step, bool) or not re.fullmatch(r"[1-9]\d{0,17}", str(step)):
            raise InputError(f"{where}: got step {step!r}, expected a number from 1")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest.lower()):
            raise InputError(f"{where}: got sha256 {digest!r}, expected 64 hex digits")
        if int(step) in found:
            raise InputError(f"{where}: got step {step} again, expected each step once")
        found[int(step)] = digest.lower()
    if not found:
        raise InputError(f"{path}: got no rows, expected a digest for each step")
    first = min(found)
    for step in range(first, first + len(found)):
        if step not in found:
            raise InputError(
                f"{path}: step {step:,} is missing, expected each from {first:,} to {max(found):,}",
                "to compare some steps only, give a table of them without gaps",
            )
    return first, [found[step] for step in sorted(found)]


def _read_rows(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
            _check_columns(path, names)
            table = pq.read_table(path, columns=list(_COLUMNS))
            yield from zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
            return
        text = read_file(path).decode("utf-8-sig")
        if path.suffix == ".csv":
            reader = csv.DictReader(text.splitlines())
            _check_columns(path, reader.fieldnames or ())
            yield from ((row["step"], row["sha256"]) for row in reader)
            return
        for line in filter(str.strip, text.splitlines()):
            row = parse_json(line.encode())
            _check_columns(path, row if isinstance(row, dict) else ())
            yield row["step"], row["sha256"]
    except (pa.ArrowException, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: got a table that cannot be read: {reason}") from error


def _check_columns(path: Path, names: Iterable[str]) -> None:
    if not set(_COLUMNS) <= set(names):
        got = ", ".join(names) or "none"
        raise InputError(f"{path}: got columns {got}, expected {' and '.join(_COLUMNS)}")


def _choose_view(
    output: Output, stored: StepTable | None, view: ViewChoice, first: int, digests: list[str]
) -> tuple[View, str]:
    """Return the view under which most of a few steps, spread over all, have these digests."""
    if view != "auto":
        output.check_view(view)
        return view, "as requested"
    at = sorted({round(place) for place in np.linspace(0, len(digests) - 1, _MOST_TRIED)})

    def num_equal(one: View) -> int:
        return sum(
            _our_digests(output, stored, one, first + place, first + place + 1)[0] == digests[place]
            for place in at
        )

    found = {one: num_equal(one) for one in output.views}
    best = max(output.views, key=lambda one: found[one])
    if found[best]:
        return best, f"under which {found[best]:,} of {len(at):,} steps tried are equal"
    return output.view, f"as the output itself, since {len(at):,} steps are equal under no view"


def _our_digests(
    output: Output,
    stored: StepTable | None,
    view: View,
    first: int,
    last: int,
    report: ReportProgress = no_progress,
) -> list[str]:
    """Return the digests of steps under a view; those of the output's own view are on disk."""
    if view == output.view and stored is not None:
        known, digests = stored
        return digests[first - known : last - known]
    return _digests_of(output.ordered_under(view), output.batch_size, first, last, report)


def _digests_of(
    rows: RowSource, batch_size: int, first: int, last: int, report: ReportProgress
) -> list[str]:
    found = []
    num_rows, num_tokens, hasher = 0, 0, hashlib.sha256()
    for block in rows.read((first - 1) * batch_size, (last - 1) * batch_size):
        for ids in block:
            hasher.update(np.uint32(len(ids)).astype("<u4").tobytes())
            hasher.update(ids.astype("<u4", copy=False).tobytes())
            num_rows += 1
            if num_rows % batch_size == 0:
                found.append(hasher.hexdigest())
                hasher = hashlib.sha256()
        num_tokens += len(block.values)
        work = Work(unit="rows", num_tokens=num_tokens)
        report("rows", num_rows, (last - first) * batch_size, work)
    return found


def _explain(
    output: Output,
    view: View,
    first: int,
    ours: list[str],
    theirs: list[str],
    differing: tuple[int, ...],
) -> list[Finding]:
    if not differing:
        return []
    if sorted(ours) == sorted(theirs):
        return finding("row order", "the same steps in another order")
    by, num_found = _shift(ours, theirs)
    if num_found > len(differing) // 2:
        text = f"{num_found:,} steps are those of the output {abs(by):,} steps "
        text += "later" if by > 0 else "earlier"
        return finding("position", text, shift=by, num_found=num_found)
    if len(differing) == len(ours):
        found = _other_order(output, view, first, theirs[0])
        if found:
            return found
    text = (
        "digests of steps have no rows to search for a cause; views, seeds, epochs and shifts were "
        "tried, for anything else compare with rows"
    )
    return finding("unknown", text)


def _shift(ours: list[str], theirs: list[str]) -> tuple[int, int]:
    """Return by how many steps most of the shifted steps are shifted, and how many are."""
    places = {digest: place for place, digest in enumerate(ours)}
    shifts = [places[digest] - at for at, digest in enumerate(theirs) if digest in places]
    values, counts = np.unique([one for one in shifts if one], return_counts=True)
    if not len(values):
        return 0, 0
    best = int(counts.argmax())
    return int(values[best]), int(counts[best])


def _other_order(output: Output, view: View, step: int, digest: str) -> list[Finding]:
    """Make one step under other seeds and epochs."""
    ours = output.key
    if not output.has_pool or ours.num_samples > _MOST_POOL_ROWS:
        return []
    views = [one for one in output.known_views if one == "stored" or not output.tokenizer_problem]
    for key in other_keys(ours):
        pool = ReplayedPool(pool=output.pool, order=make_permutation(key), num_rows=output.num_rows)
        for one in sorted(views, key=lambda candidate: candidate != view):
            rows = output.viewed(pool, one)
            made = _digests_of(rows, output.batch_size, step, step + 1, lambda *done: None)
            if made != [digest]:
                continue
            kind = "seed" if key.seed != ours.seed else "epoch"
            is_summed = key.algorithm == SUMMED
            kind = "seed or epoch" if is_summed else kind
            text = (
                f"step {step:,} is that of seed {key.seed}, epoch {key.epoch}, view {one}; the "
                f"output's order is of seed {ours.seed}, epoch {ours.epoch}"
            )
            text += f"; any seed + epoch = {key.seed + key.epoch} gives it" if is_summed else ""
            return finding(kind, text, seed=key.seed, epoch=key.epoch, view=one)
    return []
