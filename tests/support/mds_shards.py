"""MDS shards made byte by byte, and read."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.sources.partitions import InputFile
from pipeline.sources.readers.id_decoder import Decoding

TEXTS = [
    ("a", "first"),
    ("b", "two\nlines, \u00e9 and \U0001f600"),
    ("\u00e9", " "),
    ("d", "nul \x00 and \u2028"),
    ("e", "x" * 70_000),
]


SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Two lines,\n\tan indent and an \u00e9.",
    "if x != y: print('a', \u201cb\u201d) ! \U0001f600",
    "It isn't ' so ' , he 's sure ; do n't ask . Why ?",
]


# What each encoding stores, made by hand.
CODES = {"uint16": 16, "uint32": 32, "int32": 33, "int64": 65}


def shard(columns: list[tuple[str, str, int | None]], samples: list[list[bytes]]) -> bytes:
    """Return the bytes of a shard by the format's description; columns are sorted by name."""
    names, encodings, sizes = (list(part) for part in zip(*columns, strict=True))
    config = {
        "column_encodings": encodings,
        "column_names": names,
        "column_sizes": sizes,
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": 1 << 26,
        "version": 2,
    }
    header = json.dumps(config, sort_keys=True).encode()
    bodies = []
    for sample in samples:
        variable = [len(body) for body, size in zip(sample, sizes, strict=True) if size is None]
        bodies.append(struct.pack(f"<{len(variable)}I", *variable) + b"".join(sample))
    offsets = [4 + 4 * (len(samples) + 1) + len(header)]
    for body in bodies:
        offsets.append(offsets[-1] + len(body))
    start = struct.pack(f"<{1 + len(offsets)}I", len(samples), *offsets)
    return start + header + b"".join(bodies)


def text_shard(documents: list[tuple[str, str]]) -> bytes:
    """Return a shard as the published preparation makes it of Dolma and DCLM."""
    samples = [[id_.encode(), text.encode()] for id_, text in documents]
    return shard([("id", "str", None), ("text", "str", None)], samples)


def array(values: Any, encoding: str) -> bytes:
    """Return an array as `ndarray` or `ndarray:<type>` stores it."""
    values = np.asarray(values)
    largest = max(values.shape)
    width = 0 if largest < 1 << 8 else 1 if largest < 1 << 16 else 2
    shape = struct.pack(f"<{values.ndim}{'BHI'[width]}", *values.shape)
    start = bytes([CODES[values.dtype.name]]) if encoding == "ndarray" else b""
    return b"".join([start, bytes([4 * values.ndim + width]), shape, values.tobytes()])


def input_file(folder: Path, data: bytes, name: str = "shard.00000.mds") -> InputFile:
    path = folder / name
    path.write_bytes(data)
    kind = name[name.index(".mds") :]
    return InputFile(path=path, declared=name, partition="p", kind=kind)


def decoding(path: Path, *, cleans_up: bool = False) -> Decoding:
    return Decoding(tokenizer=path, cleans_up=cleans_up)
