"""Miniatures of the published phases: files as their origins have them, on servers like theirs.

The shipped mixtures are built as they are, by `--scale`. What differs is where the files lie: a
mixture that extends the shipped one says, in place of each address, the same path at the plain host
of the test, and data sets of the Hub are asked for at `HF_ENDPOINT`. Every file holds made-up text,
as much as the source's budget at that scale needs.
"""

import gzip
import json
import os
import random
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml  # type: ignore[import-untyped,unused-ignore]
import zstandard
from support import builds
from support.source_server import Server, serve
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

MIXTURES = builds.REPOSITORY / "mixtures"
DOLMA = "https://olmo-data.org/dolma-v1_7"
HUB = {
    "mlfoundations/dclm-baseline-1.0-parquet": "dclm",
    "allenai/dolmino-mix-1124": "dolmino",
    "princeton-nlp/prolong-data-64K": "prolong",
}
"""Where what a data set has lies, below the folder of a miniature."""
MODEL = "princeton-nlp/Llama-3-8B-ProLong-64k-Base"
"""Whose tokenizer made the ids of ProLong; the mixture names no commit of it."""
NUM_FILES = 2
"""Of a source; at such a scale a build reads one of them."""
TOKENS_PER_WORD = 2.14
"""Of `builds.text`, by the built-in tokenizer."""
FEWEST_WORDS = 80
"""Of a document: cut into no piece that is left out for being short."""
TOO_SHORT = "Too short."
"""One document of every file."""

Texts = dict[str, list[str]]
"""The texts of each file, in order, by what its address ends in."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A miniature of one shipped mixture."""

    name: str
    """Of the mixture that ships."""
    scale: str
    """As `--scale` takes it."""
    says: Mapping[str, Any]
    """What the extending mixture says besides."""
    longest: int
    """Words of the longest documents."""


# With steps of 4,608 rows there would be none.
_ORDER = {"global_batch_size": 16, "window_tokens": "60k"}
_VALIDATION = {"fraction": "1/50"}
PRETRAINING = Phase(
    name="ettin-pretraining",
    scale="2e-7",
    says={"order": _ORDER, "validation": _VALIDATION, "shards": {"size_limit": "64KiB"}},
    longest=1500,
)
EXTENSION = Phase(
    name="ettin-extension",
    scale="1e-6",
    says={
        "order": _ORDER,
        "validation": _VALIDATION,
        # Else a whole copy of a source would be dropped.
        "dedup": {"scope": "source", "minhash": {}},
        "keep_dropped": 1,
        "sources": {
            "reddit": {"filters": [{"length": {"min_chars": 100}}]},
            # There are only two files.
            "arxiv": {"sample": {"first": "arxiv_0001"}},
        },
    },
    longest=6000,
)
DECAY = Phase(
    name="ettin-decay",
    scale="3e-6",
    says={"order": _ORDER, "validation": _VALIDATION},
    longest=6000,
)


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """A miniature with its servers up."""

    phase: Phase
    """Of what."""
    server: Server
    """The Hub and the plain host."""
    there: Path
    """What the servers have."""
    folder: Path
    """Where a person would be: beside the mixture, with `manifests` and `raw` below it."""
    texts: Texts
    """What the files hold."""

    @property
    def mixture(self) -> Path:
        """The mixture that extends the shipped one."""
        return self.folder / "here.yaml"

    @property
    def lock(self) -> Path:
        """Where its lock lies."""
        return self.folder / "manifests" / f"{self.phase.name}.lock.json"

    def run(self, verb: str, *arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        """Run a command on the mixture, at its scale, to its end."""
        return builds.run(
            *(verb, self.mixture, "--scale", self.phase.scale, *arguments),
            cwd=self.folder,
            **at_home(self.server, self.folder),
            **variables,
        )

    def run_well(self, verb: str, *arguments: str | Path, **variables: str) -> str:
        """Run a command that must succeed; return its stdout."""
        done = self.run(verb, *arguments, **variables)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def at_home(server: Server, folder: Path) -> dict[str, str]:
    """Return what makes a server the Hub, for somebody without a token."""
    home = folder / "home"
    token = str(home / "no-token")
    return {
        "HF_ENDPOINT": server.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": "",
        "HF_TOKEN_PATH": token,
    }


@contextmanager
def serve_miniature(phase: Phase, folder: Path, **settings: Any) -> Iterator[Miniature]:
    """Write what the origins of a phase have, and serve it until the block ends."""
    there, here = folder / "there", folder / "here"
    texts = write_origins(phase, there)
    with serve_again(phase, there, **settings) as server:
        here.mkdir()
        miniature = Miniature(phase=phase, server=server, there=there, folder=here, texts=texts)
        write_mixture(miniature)
        yield miniature


@contextmanager
def serve_again(phase: Phase, there: Path, **settings: Any) -> Iterator[Server]:
    """Serve what was written of a phase."""
    repos = {name: there / below for name, below in HUB.items() if (there / below).exists()}
    models = {MODEL: there / "llama"}
    with serve(repos, models=models, files={"dolma-v1_7": there / "dolma"}, **settings) as server:
        yield server


def write_mixture(miniature: Miniature, **says: Any) -> None:
    """Write the mixture that extends the shipped one; `says`: at its top level, and last."""
    phase, folder = miniature.phase, miniature.folder
    origins: dict[str, Any] = {}
    for _, name, origin in _origins(phase):
        if "url" in origin:
            origins[name] = {"from": {"url": _urls(origin, miniature.server.url("dolma-v1_7", ""))}}
    shipped = os.path.relpath(MIXTURES / f"{phase.name}.yaml", folder)
    content = {"extends": shipped, "origins": origins, **phase.says, **says}
    miniature.mixture.write_text(yaml.safe_dump(content))


def published(phase: Phase) -> dict[str, int]:
    """Return the tokens that a shipped mixture gives each source."""
    return {name: _tokens(said) for name, (said, _, _) in _by_source(phase).items()}


def _tokens(said: Mapping[str, Any]) -> int:
    spelled = said.get("expected", said.get("tokens"))
    if isinstance(spelled, int):
        return spelled
    assert str(spelled).endswith("B")
    return int(Decimal(str(spelled)[:-1]) * 10**9)


def _by_source(phase: Phase) -> dict[str, tuple[dict[str, Any], str, dict[str, Any]]]:
    """Return for each source what it says itself, its origin's name and where that is."""
    mixture = yaml.safe_load((MIXTURES / f"{phase.name}.yaml").read_text())
    shared = yaml.safe_load((MIXTURES / mixture["extends"]).read_text())["origins"]
    names = {source: said.get("origin", source) for source, said in mixture["sources"].items()}
    return {
        source: (said, names[source], shared[names[source]]["from"] | said.get("from", {}))
        for source, said in mixture["sources"].items()
    }


def _origins(phase: Phase) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    return list(_by_source(phase).values())


def _urls(origin: Mapping[str, Any], host: str) -> list[str]:
    """Return the addresses of an origin at another host, of fewer files."""
    urls = [origin["url"]] if isinstance(origin["url"], str) else origin["url"]
    last = f"{NUM_FILES - 1:04d}"
    shorter = (
        re.sub(r"\{0000\.\.(\d{4})\}", lambda found: f"{{0000..{min(last, found[1])}}}", url)
        for url in urls
    )
    return [url.replace(f"{DOLMA}/", host) for url in shorter]


def _files(origin: Mapping[str, Any]) -> list[str]:
    """Return the paths of an origin's files, below the folder of a miniature."""
    if "url" in origin:
        return [path for url in _urls(origin, "dolma/") for path in _expanded(url)]
    below = HUB[origin["hub"]]
    if below == "dclm":
        folder = f"dclm/filtered/{origin['files'].split('/')[1]}"
        return [f"{folder}/local-shard_{n}_of_10/part-0.parquet" for n in range(NUM_FILES)]
    top = origin["files"].partition("/*")[0]
    name = "shard.00000.mds" if below == "prolong" else "part-0.json.zst"
    return [f"{below}/{top}/{n:04d}/{name}" for n in range(NUM_FILES)]


def _expanded(url: str) -> list[str]:
    found = re.search(r"\{(.*)\}", url)
    assert found is not None
    first, dots, last = found[1].partition("..")
    numbers = [f"{n:04d}" for n in range(int(first), int(last) + 1)] if dots else first.split(",")
    return [url.replace(found[0], number) for number in numbers]


def write_origins(phase: Phase, there: Path) -> Texts:
    """Write the files of all sources; return their texts."""
    write_model(there / "llama")
    scale, written = Fraction(phase.scale), Texts()
    for source, (said, _, origin) in _by_source(phase).items():
        # More than is asked for, and twice as much where a part is cut.
        factor = 1.6 if "expected" in said else 2.0
        num_words = int(_tokens(said) * scale * factor / TOKENS_PER_WORD)
        for path in _files(origin):
            texts = _texts(path, num_words, phase.longest)
            if source == "pes2o":
                texts += [written[one][0] for one in written if "arxiv" in one]
            written[path] = [_decodable(one) for one in texts] if "decode" in origin else texts
            (there / path).parent.mkdir(parents=True, exist_ok=True)
            (there / path).write_bytes(_packed(path, written[path]))
    return written


def _texts(path: str, num_words: int, longest: int) -> list[str]:
    """Return about so many words as documents; if there are a few, the first recurs among them."""
    draw = random.Random(path).random
    most, left, texts = min(longest, max(num_words // 4, FEWEST_WORDS)), num_words, list[str]()
    while left > 0:
        words = min(
            FEWEST_WORDS + int(draw() ** 4 * (most - FEWEST_WORDS)), max(left, FEWEST_WORDS)
        )
        texts.append(builds.text(f"{path}/{len(texts)}", words))
        left -= words
    copies = [texts[0]] if len(texts) > 8 else []
    return [*texts, TOO_SHORT, *copies]


def _packed(path: str, texts: Sequence[str]) -> bytes:
    if path.endswith(".mds"):
        return mds([toy_tokenizer().encode(text).ids for text in texts])
    if path.endswith(".parquet"):
        ids = [{"WARC-Record-ID": document_id(path, row)} for row in range(len(texts))]
        table = pa.table({"text": texts, "metadata": ids})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed
    lines = builds.json_lines(
        {"id": document_id(path, row), "text": text, "source": "made up", "added": "2024-04-15"}
        for row, text in enumerate(texts)
    )
    return gzip.compress(lines, mtime=0) if path.endswith(".gz") else zstandard.compress(lines)


def document_id(path: str, row: int) -> str:
    """Return the id that a document is given where its file has ids."""
    return f"{path}:{row}"


def mds(rows: Sequence[Sequence[int]]) -> bytes:
    """Return a shard with the columns of ProLong's."""
    columns = {"domain": "str", "indices": "ndarray:uint32", "input_ids": "ndarray:uint32"}
    header = json.dumps(
        {
            "column_encodings": list(columns.values()),
            "column_names": list(columns),
            "column_sizes": [None] * len(columns),
            "compression": None,
            "format": "mds",
            "hashes": [],
            "size_limit": 1 << 26,
            "version": 2,
        }
    ).encode()
    stored = []
    for ids in rows:
        values = [b"book", _array([0, len(ids)]), _array(ids)]
        stored.append(struct.pack("<3I", *map(len, values)) + b"".join(values))
    start = 4 * (len(rows) + 2) + len(header)
    offsets = start + np.cumsum([0, *map(len, stored)])
    return (
        struct.pack("<I", len(rows)) + offsets.astype("<u4").tobytes() + header + b"".join(stored)
    )


def _array(values: Sequence[int]) -> bytes:
    """Return one dimension of uint32: its number of dimensions and width, its length, itself."""
    return bytes([4 * 1 + 2]) + struct.pack("<I", len(values)) + np.array(values, "<u4").tobytes()


def write_model(folder: Path, seed: str = "toy") -> None:
    """Write what there is of a model: the tokenizer of `seed`."""
    folder.mkdir(parents=True)
    toy_tokenizer(seed).save(str(folder / "tokenizer.json"))


@cache
def toy_tokenizer(seed: str = "toy") -> Tokenizer:
    """Return a tokenizer of Llama 3's kind: byte-level BPE, a special token before each text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([builds.text(seed, 2000)], trainer)
    begin = "<|begin_of_text|>"
    tokenizer.add_special_tokens([AddedToken(begin, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    return tokenizer


def _decodable(text: str) -> str:
    """Return a text that stays as it is where spaces before punctuation are taken out."""
    while (cleaned := re.sub(r" ([.?!,])", r"\1", text)) != text:
        text = cleaned
    return text
