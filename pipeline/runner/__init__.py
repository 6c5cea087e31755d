"""Runner: a mixture and its lock -> an output folder with a manifest.

`build` runs a plan as tasks from files to files on a cluster and keeps what an earlier run made;
`build_alone` makes some of its partitions, `build_part` does a part of a stage beside others.
`replay_pool` orders the rows of an existing pool; `replay_archives` first makes it of archives, of
which `archives_alone` makes some. `materialise` writes the rows of an order that has none of its
own.
`make_estimate` estimates what a build takes.
"""

from pipeline.runner.archive_pool import archives_alone, replay_archives
from pipeline.runner.build_alone import build_alone
from pipeline.runner.build_options import Tls
from pipeline.runner.build_part import MadePart, build_part, join_scan
from pipeline.runner.check_budgets import describe_short
from pipeline.runner.chunk_cache import ChunkCache, Entry
from pipeline.runner.estimate import Estimate, make_estimate
from pipeline.runner.estimate_time import BYTES_PER_SECOND
from pipeline.runner.expected_files import expected_lock
from pipeline.runner.machine import Machine, this_machine
from pipeline.runner.materialise import materialise
from pipeline.runner.open_cluster import open_files_of
from pipeline.runner.output_as_input import refuse_output
from pipeline.runner.parts import Part
from pipeline.runner.plan import Plan, check_local, make_plan
from pipeline.runner.redo import Redo, describe_redo, find_redo
from pipeline.runner.replay_pool import pool_folder, replay_pool
from pipeline.runner.run import build
from pipeline.runner.stored_chunk_cache import StoredChunkCache, open_chunk_cache
from pipeline.runner.versions import versions
from pipeline.runner.working_folder import raw_folder, working_folder

__all__ = [
    "BYTES_PER_SECOND",
    "ChunkCache",
    "Entry",
    "Estimate",
    "Machine",
    "MadePart",
    "Part",
    "Plan",
    "Redo",
    "StoredChunkCache",
    "Tls",
    "archives_alone",
    "build",
    "build_alone",
    "build_part",
    "check_local",
    "describe_redo",
    "describe_short",
    "expected_lock",
    "find_redo",
    "join_scan",
    "make_estimate",
    "make_plan",
    "materialise",
    "open_chunk_cache",
    "open_files_of",
    "pool_folder",
    "raw_folder",
    "refuse_output",
    "replay_archives",
    "replay_pool",
    "this_machine",
    "versions",
    "working_folder",
]
