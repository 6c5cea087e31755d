"""Bugs that are put in to be found: each replaces a function of the package by a wrong one.

A bug never makes what it is compared with: references are made with the bug taken out.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any
from unittest import mock

from pipeline.audit.trace import lookup
from pipeline.audit.verify import check_output
from pipeline.core import cells, files, record_log
from pipeline.core.bins import Span
from pipeline.core.cells import CellFormat, CellReader
from pipeline.core.digest import FileDigest
from pipeline.core.errors import OutputError
from pipeline.core.saved_file import SavedFile
from pipeline.dataset import State
from pipeline.feed.feed import Feed
from pipeline.runner import (
    holdout_split,
    output_lock,
    repeated_ids,
    sampled_shards,
    task_cache,
    threshold,
)
from pipeline.runner.number_buckets import Buckets
from pipeline.runner.shuffle import IndexPlan, passes, scatter, sort_bucket
from pipeline.runner.shuffle.placed_rows import split_rows
from pipeline.runner.tasks import training_chunks
from pipeline.sources.download import part_file
from pipeline.sources.lock.checksum import Hasher
from pipeline.stages.dedup import clusters
from pipeline.storage import http
from pipeline.storage.object_store import ObjectFile
from pipeline.storage.ranges import HttpFile
from pipeline.train import checkpoints, metrics
from pipeline.train.metrics import Metrics
from pipeline.train.ranks import Ranks

from . import train_rules
from .model import World
from .pass_rules import PASS_RULES, ChangedInputRule, PassRule, RecordRule
from .place_rules import (
    LockRule,
    PublishedRule,
    RawRule,
    ResumeRule,
    VersionRule,
)
from .place_world import PlaceWorld
from .rules import BASE_RULES, BuildRule, FeedRule, InputRule, TraceRule, VariantRule
from .train_rules import TRAIN_RULES
from .trust_rules import TRUST_RULES

_REFERENCES = (
    (World, "reference"),
    (PlaceWorld, "reference"),
    (PublishedRule, "expected_answer"),
    (train_rules, "reference_run"),
)
"""The functions that make what is compared with."""


@dataclass(frozen=True)
class Bug:
    """A function of the package, and what stands in its place."""

    where: Any
    name: str
    function: Any
    rules: tuple[type, ...] = BASE_RULES
    """Those that hunt it."""

    @contextmanager
    def put_in(self) -> Iterator[None]:
        """Put it in until the block ends, but where references are made."""
        patch = mock.patch.object(self.where, self.name, self.function)

        def without(make: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(make)
            def made(*given: Any, **options: Any) -> Any:
                if getattr(self.where, self.name) is not self.function:  # One within another.
                    return make(*given, **options)
                patch.stop()
                try:
                    return make(*given, **options)
                finally:
                    patch.start()

            return made

        with ExitStack() as stack:
            for where, name in _REFERENCES:
                made = without(getattr(where, name))
                stack.enter_context(mock.patch.object(where, name, made))
            patch.start()
            stack.callback(patch.stop)
            yield


_of_passes = partial(Bug, rules=PASS_RULES)
_of_cells = partial(Bug, rules=(PassRule, InputRule))
_of_records = partial(Bug, rules=(RecordRule, InputRule))
_of_counts = partial(Bug, rules=(BuildRule, InputRule))
_of_pulls = partial(Bug, rules=(VersionRule, LockRule, ResumeRule))
_of_later_pulls = partial(Bug, rules=(LockRule, RawRule, ResumeRule))
_of_orders_at_places = partial(Bug, rules=(PublishedRule,))
_of_trust = partial(Bug, rules=(BuildRule, *TRUST_RULES))
_of_training = partial(Bug, rules=TRAIN_RULES)


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in for a check that is left out."""


def _anything(*_: Any) -> Any:
    """Stand in for a digest that is not compared."""
    return mock.ANY


def _one_row_before(read: Callable[..., Any]) -> Callable[..., Any]:
    def rows_(self: Any, span: Any) -> Any:
        late = int(span.start_row > 0)
        moved = replace(span, start_row=span.start_row - late, stop_row=span.stop_row - late)
        return read(self, moved)

    return rows_


def _skips_a_row(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_state_dict(self: Feed, state: Any) -> None:
        load(self, state)
        self.row += 1

    return load_state_dict


@contextmanager
def _claims_to_sync(_: Any) -> Iterator[Callable[..., bool]]:
    """Stand in for a sync of the disk."""
    yield lambda paths: True


def _removes_at_once(state: State) -> None:
    """Remove chunks before the records of what was drawn from them are durable."""
    for folder in state.before_sampling:
        shutil.rmtree(folder, ignore_errors=True)


def _never_reads(find: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, path, *, hashes_all: find(self, path, hashes_all=False)


def _without_removal(self: CellReader) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise OutputError(f"{self._path}: {error}", "run the same command again") from error


@contextmanager
def _without_sync(_: Any) -> Iterator[Callable[..., None]]:
    yield _nothing


def _split_one_row_late(rows: Any, first_row: int, *rest: Any) -> Iterator[Any]:
    return split_rows(rows, first_row - 1, *rest)


def _of_the_first(load: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, paths, number: load(self, paths[:1], number)


def _keeps_its_goal(narrow: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, bins: replace(narrow(self, bins), goal=self.goal)


def _without_the_last(members: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, number: members(self, number)[:-1]


def _of_the_first_partition(find: Callable[..., Any]) -> Callable[..., Any]:
    return lambda task: find(replace(task, parts=task.parts[:1]))


BUGS = {
    # Of builds, and of what reads their outputs
    "damage to finished work is not noticed": Bug(FileDigest, "matches", lambda *_: True),
    "files of an earlier build stay": Bug(output_lock, "_remove_unknown", _nothing),
    "an output of another mixture is taken": Bug(
        output_lock, "_check_owner", _nothing, rules=(BuildRule, VariantRule)
    ),
    "files are not synced": Bug(files, "sync", _nothing),
    "texts that recur are compared unsorted": Bug(clusters, "_sorted", lambda records: records),
    "the seed of a holdout is left out": Bug(
        training_chunks, "text_numbers", lambda digests, _: digests[:, 0].copy()
    ),
    "verify reads no file": Bug(check_output, "_check", _nothing),
    "verify does not look for unknown files": Bug(check_output, "_files", lambda _: set()),
    "trace is off by one row": Bug(
        lookup.Trace, "rows", _one_row_before(lookup.Trace.rows), rules=(BuildRule, TraceRule)
    ),
    "a feed resumes one row late": Bug(
        Feed, "load_state_dict", _skips_a_row(Feed.load_state_dict), rules=(BuildRule, FeedRule)
    ),
    # Of what a build takes from an earlier one without reading it
    "a file that was not synced is trusted": _of_trust(task_cache, "syncing", _claims_to_sync),
    "a check reads no more than another run": _of_trust(
        SavedFile, "find", _never_reads(SavedFile.find)
    ),
    "chunks go before the draws are durable": _of_trust(
        sampled_shards, "remove_sampled", _removes_at_once
    ),
    # Of passes, and of the records of tasks
    "the digest of a cell is not compared": _of_cells(cells, "_digest", lambda _: bytes(32)),
    "cells that were made of other inputs are taken": Bug(
        CellFormat, "_digest", property(lambda _: bytes(32)), rules=(ChangedInputRule,)
    ),
    "a damaged file of cells stays": _of_passes(CellReader, "_explained", _without_removal),
    "a lost bucket is not made again": _of_passes(passes, "has_cells", lambda *_: True),
    "rows are scattered one row late": _of_counts(scatter, "split_rows", _split_one_row_late),
    "rows are sorted one row late": _of_counts(sort_bucket, "split_rows", _split_one_row_late),
    "a run is left out where an index is merged": _of_counts(
        IndexPlan, "members", _without_the_last(IndexPlan.members)
    ),
    "a bucket of numbers is read from one file alone": _of_counts(
        Buckets, "load", _of_the_first(Buckets.load)
    ),
    "ids that recur are found in one bucket alone": _of_counts(
        repeated_ids, "_join", lambda buckets: buckets[0]
    ),
    "the goal stays where a span is narrowed": _of_counts(
        Span, "narrowed", _keeps_its_goal(Span.narrowed)
    ),
    "candidates are of the first partition alone": _of_counts(
        threshold, "find_candidates", _of_the_first_partition(threshold.find_candidates)
    ),
    "texts that another source gives stay": _of_counts(holdout_split, "find_shared", _nothing),
    "a damaged line of a log is a record": _of_records(
        record_log, "_intact", lambda line: line.removesuffix(b"\n").partition(b"\t")[2]
    ),
    "a task is recorded before it is synced": _of_passes(task_cache, "syncing", _without_sync),
    # Of pulls, and of orders that are read from a place
    "blocks of an unfinished download are not compared with its log": _of_pulls(
        part_file, "_digest", _anything
    ),
    "the range of an answer is not checked": _of_pulls(HttpFile, "_check_range", _nothing),
    "an ETag is not compared": _of_pulls(HttpFile, "_check_version", _nothing),
    "the version of an object is not compared": _of_pulls(ObjectFile, "check", _nothing),
    "a body that was cut off is taken as complete": _of_orders_at_places(
        http, "check_complete", _nothing
    ),
    "the digest of a download is not compared": _of_later_pulls(Hasher, "check", _nothing),
    # Of training
    "an optimizer resumes without its moments": _of_training(checkpoints, "load_state", _nothing),
    "a resumed run begins at the first row": _of_training(Feed, "load_state_dict", _nothing),
    "a checkpoint is renamed before it is synced": _of_training(
        checkpoints, "publish", partial(files.publish, syncs=False)
    ),
    "metrics are not synced": _of_training(Metrics, "sync", _nothing),
    "metrics of steps after the checkpoint stay": _of_training(metrics, "_truncate", _nothing),
    "a damaged checkpoint is loaded": _of_training(checkpoints, "check_files", _nothing),
    "gradients are not summed over ranks": _of_training(
        Ranks, "all_reduce", lambda _, values: values
    ),
}
