"""Miniatures of the published phases: files as their origins have them, on servers like theirs.

The shipped mixtures are built as they are, by `--scale`. What differs is where the files lie: a
mixture that extends the shipped one gives, in place of each address, the same at the test's plain
host, and data sets of the Hub are asked for at `HF_ENDPOINT`. Every file holds made-up text of a
size that fits the source's budget at that scale.
"""

import gzip
import json
import random
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml  # type: ignore[import-untyped,unused-ignore]
import zstandard
from source_server import Server
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MIXTURES = builds.REPOSITORY / "mixtures"
DOLMA = "https://olmo-data.org/dolma-v1_7"
TOKENS_PER_WORD = 2.14
"""Of `builds.text`, by the built-in tokenizer."""
MOST_FILES = 3
"""Of a source; a build at such a scale reads one of them."""

Pack = Callable[[Path, Sequence[Mapping[str, str]]], None]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A miniature of one shipped mixture."""

    name: str
    """Of the mixture that ships."""
    scale: str
    """As `--scale` takes it."""
    extra: Mapping[str, Any]
    """What the extending mixture says besides."""
    longest: int
    """Words of the longest documents."""


# Steps of 4,608 rows would be none: a miniature of the tokens has steps in proportion.
ORDER = {"global_batch_size": 16, "window_tokens": "60k"}
PHASES = {
    "pretraining": Phase(
        name="ettin-pretraining", scale="1e-7", longest=1500,
        extra={"order": ORDER, "validation": {"fraction": "1/50"}, "shards": {"size_limit": "64KiB"}},
    ),
    "extension": Phase(
        name="ettin-extension", scale="1e-6", longest=6000,
        extra={
            "order": ORDER,
            "validation": {"fraction": "1/50"},
            "dedup": {"minhash": {}},
            "keep_dropped": 1,
            "sources": {"reddit": {"filters": [{"length": {"min_chars": 200}}]}},
        },
    ),
    "decay": Phase(
        name="ettin-decay", scale="3e-6", longest=6000,
        extra={"order": ORDER, "validation": {"fraction": "1/50"}},
    ),
}  # fmt: skip


def declared(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a shipped mixture says of its sources, and what it shares with others."""
    mixture = yaml.safe_load((MIXTURES / f"{name}.yaml").read_text())
    return mixture["sources"], yaml.safe_load((MIXTURES / mixture["extends"]).read_text())


def origins_of(name: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return for each source what it says itself, and where its files come from."""
    sources, shared = declared(name)
    return {
        source: (said, shared["origins"][said.get("origin", source)]["from"])
        for source, said in sources.items()
    }


def write_mixture(phase: Phase, folder: Path, server: Server, **more: Any) -> Path:
    """Write the mixture that extends a shipped one; `more` is said at its top level."""
    moved = {}
    for said, origin in origins_of(phase.name).values():
        for urls in [origin["url"]] if "url" in origin else []:
            moved[json.dumps(urls)] = urls, said
    origins = {
        said.get("origin", source): {"from": {"url": _moved(origin["url"], server)}}
        for source, (said, origin) in origins_of(phase.name).items()
        if "url" in origin
    }
    content = {
        "extends": Path(_relative(MIXTURES / f"{phase.name}.yaml", folder)).as_posix(),
        "origins": origins,
        **phase.extra,
        **more,
    }
    path = folder / f"{phase.name}-here.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path
