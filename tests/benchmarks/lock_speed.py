"""Time the lock of a large data set, from the first request to the file:

    python -m tests.benchmarks.lock_speed [--files 70000] [--urls 2419]

Enters: nothing; a data set of so many made files, and so many addresses at a plain host, are served
by a process on loopback. Leaves: for each the seconds to ask for all files, to write the lock, and
to read it again; its bytes; and the requests that were made. The data set is listed in pages of
1,000 as the Hub does; of addresses each is asked for by itself. The server makes its pages before
the clock starts, so the first of two locks is not counted.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.lock import make_lock, read_lock, write_lock
from pipeline.mixture import load
from pipeline.sources.hub import forget_listings
from tests.source_server import serve

MIXTURE = """\
name: large
chunk: {algorithm: whole-v1, size: 128}
sources: {all: {from: {ORIGIN, partition: path}}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
