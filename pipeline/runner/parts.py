"""Parts: the tasks of a stage are dealt to N runs of one command, which need no scheduler.

Which part a partition is in follows from the mixture, its inputs and N alone (`parts-v1`), so each
run finds its own, whatever the others do. Where parts share no more than the output folder, that
has the versions of what made them.
"""

import heapq
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pipeline.core.errors import OutputError
from pipeline.core.files import publish
from pipeline.core.json_record import parse_json
from pipeline.core.shown import printable
from pipeline.dataset import State
from pipeline.runner.expected_files import expected_part
from pipeline.runner.plan import Plan, narrowed, num_bytes
from pipeline.runner.task_cache import has_record
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.versions import differing_versions, versions

Stage = Literal["scan", "chunk"]
_LOG = logging.getLogger(__name__)
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts, counted from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


def deal(sizes: Sequence[int], num_parts: int) -> list[int]:
    """Return which part each task is in, from 0, by `parts-v1`. Pure.

    From the largest down, and of equals in order, each goes to the part with the fewest bytes so
    far, and of equals to the first.
    """
    parts = [0] * len(sizes)
    # No more parts than tasks get any, however many there are.
    totals = [(0, part) for part in range(min(num_parts, len(sizes)))]
    for task in sorted(range(len(sizes)), key=lambda task: -sizes[task]):
        total, part = totals[0]
        parts[task] = part
        heapq.heapreplace(totals, (total + sizes[task], part))
    return parts


def plan_part(plan: Plan, stage: Stage, part: Part) -> Plan:
    """Return a plan of the partitions of one part alone. Pure.

    Of a source whose partitions are made in sequence, those that are expected to be reached are
    dealt; a scan reads all.
    """
    sources = plan.sources if stage == "scan" else tuple(map(expected_part, plan.sources))
    all_tasks = [
        (one, name, sum(map(num_bytes, files)))
        for one in sources
        for name, files in one.partitions.items()
    ]
    dealt = deal([size for *_, size in all_tasks], part.of)
    own: dict[str, list[str]] = {}
    for (one, name, _), number in zip(all_tasks, dealt, strict=True):
        if number == part.index - 1:
            own.setdefault(one.source.name, []).append(name)
    chosen = tuple(narrowed(one, own[one.source.name]) for one in sources if one.source.name in own)
    locked = {one.source.name: one.locked for one in chosen if one.locked is not None}
    lock = None if plan.lock is None else replace(plan.lock, sources=locked)
    return replace(plan, sources=chosen, lock=lock, partitions=())


def check_versions(state: State, *, notes: bool = False) -> None:
    """Refuse to go on with what parts of other versions have made.

    notes: whether this is a part, whose versions are noted where there are none. Raises:
    OutputError.
    """
    path, here = state.parts / "versions.json", versions()
    try:
        found = {str(name): str(one) for name, one in parse_json(path.read_bytes()).items()}
    except FileNotFoundError:
        if notes:
            with publish(path, state.scratch) as temporary:
                temporary.write_text(json.dumps(here))
        return
    except (ValueError, AttributeError):
        found = {}
    if lines := differing_versions(here, {"the parts in the folder": found}):
        raise OutputError(
            f"{state.out}: got parts of other versions than this command's: {'; '.join(lines)}",
            "run all parts, and the build that joins them, by the same versions, or choose another"
            " --out",
        )


def say_missing(state: State, tasks: Sequence[PartitionTask]) -> None:
    """Say which partitions no part has made, where parts have run, before they are made here."""
    if not state.parts.exists():
        return
    missing = [one for one in tasks if not has_record(state, one.name, one.key)]
    named = ", ".join(f"{one.source}/{one.partition}" for one in missing[:_MOST_NAMED])
    more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
    which = f"; made now: {named}{more}" if missing else ""
    _LOG.warning(
        "%s",
        printable(
            f"parts: have made {len(tasks) - len(missing):,} of {len(tasks):,} partitions{which}"
        ),
    )
