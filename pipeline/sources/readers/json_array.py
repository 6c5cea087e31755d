"""A file that is one JSON array: its elements, one at a time, whatever its size.

Only where an element ends is decided here, by quotes and brackets; each is parsed as a line is, so
that a bad one is one bad document.
"""

import re
from collections.abc import Iterator
from itertools import chain

from pipeline.sources.readers.raw_file import Bounded, DamagedError

_IN_STRING = re.compile(rb'["\\]')
_AT_TOP = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'["\[\]{}]')


def split_array(blocks: Iterator[bytes], max_bytes: int) -> Iterator[bytes | int]:
    """Yield each element of an array, or the size of one above `max_bytes`.

    blocks: of the file; the first begins with the bracket. Raises: DamagedError for an array that
    does not end, or that is not the whole file.
    """
    element = Bounded(max_bytes)
    depth, is_string, at, is_empty = 0, False, 0, True
    for block in blocks:
        start = 0
        while at < len(block):
            sign = _IN_STRING if is_string else _INSIDE if depth > 1 else _AT_TOP
            found = sign.search(block, at)
            if found is None:
                at = len(block)
                break
            at = found.end()
            mark = found[0]
            if mark == b"\\":
                at += 1  # over what is escaped, which may be in the next block
            elif mark == b'"':
                is_string = not is_string
            elif mark in b"[{":
                depth += 1
                start = at if depth == 1 else start
            elif mark in b"]}":
                depth -= 1
            if depth == 0 or (mark == b"," and depth == 1 and not is_string):
                element.add(block[start : at - 1])
                start = at
                taken = element.take()
                if isinstance(taken, int) or taken.strip():
                    yield taken
                elif mark == b"," or not is_empty:
                    raise DamagedError("JSON array", "an element is missing")
                is_empty = False
            if depth == 0:
                return _expect_end(chain([block[at:]], blocks))
        element.add(block[start:])
        at -= len(block)
    raise DamagedError("JSON array", "the file is truncated")


def _expect_end(blocks: Iterator[bytes]) -> None:
    for block in blocks:
        if block.strip():
            raise DamagedError("JSON array", "text follows its end")
