"""Mixtures for tests of what declarations accept and refuse, and how they are read."""

from pathlib import Path

import pytest

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.errors import ConfigError

NAME = "a name (letters, digits, . _ -; at most 100; first a letter or digit; no ..)"
SOURCE_NAME = f"{NAME}, and not index.json"
TOKENS = "a token amount such as 837.2B, 5M, 64k or 12000"
DIFFER = "which YAML 1.1 and YAML 1.2 read differently"
TOP_KEYS = (
    "assumptions, chunk, decontaminate, dedup, description, extends, keep_dropped, max_bad, "
    "max_document_bytes, name, on_error, order, origins, phase, sample, scale, shards, sources, "
    "tokenizer, tokens, validation"
)
SOURCE_KEYS = (
    "category, epochs, expected, filters, from, licence, max_repetition, origin, sample, share, "
    "tokens"
)
ORIGIN_KEYS = (
    "config, decode, files, files_per_partition, hub, id, on_missing, partition, path, "
    "revision, split, text, url"
)
ORDER_KEYS = (
    "algorithm, allow_cut, epoch, format, global_batch_size, listing, max_seq_len, partitions, "
    "rows, seed, view, window_tokens"
)
REVISION = "0123456789abcdef0123456789abcdef01234567"

SMALLEST = """\
name: smallest
chunk: {size: 1024}
sources:
  books: {from: {path: books.jsonl}}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
"""

# Every value a few tests replace stands on a line of its own.
ETTIN = """\
# A comment.
name: ettin
description: In a few words.
phase: checkpoint
tokenizer:
  name: modernbert
  add_prefix_space: true
chunk:
  algorithm: ettin-reencode-v1
  size: 1024
  min_size: 512
  skip_below: 128
  add_eos: false
  seed: 42
sources:
  peps:
    category: scientific
    from: {path: peps/*.json.gz}
    epochs: 3/2
  books:
    category: reference
    from:
      path: [a/*.json.gz, b/*.json.gz]
      id: null
    tokens: 837.2B
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 0
  global_batch_size: 32
  max_seq_len: 1024
  view: encoder   # Another comment.
shards:
  dtype: uint16
  size_limit: 100kB
"""


def read(text: str, *overrides: str, path: str = "mixtures/a.yaml") -> Mixture:
    return load_mixture(Path(path), overrides, text=text.encode())


def problems(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_mixture(
            Path("a.yaml"), overrides, text=text if isinstance(text, bytes) else text.encode()
        )
    return str(caught.value).split("\n")


def changed(good: str, bad: str, text: str = ETTIN) -> str:
    assert text.count(good) == 1
    return text.replace(good, bad)
