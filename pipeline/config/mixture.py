"""`Mixture`: what a person declares, checked and with defaults filled in.

Each field below declares its key; checks and JSON Schema are both made from that. A fingerprint
depends on the meaning of a mixture alone: not on the order of keys, comments, the description, the
file's folder, what was composed of several files, or on what came from an override.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.config.corpus_options import DecontaminateSpec, DedupSpec, ValidationSpec
from pipeline.config.fields import Section, apply_rule, key, to_plain
from pipeline.config.source import SOURCES, Source
from pipeline.config.text_types import LARGEST_SEED, NAME, REVISION, TOKENIZER_NAME
from pipeline.config.value_types import (
    ByteSize,
    Choice,
    Flag,
    Nullable,
    OneOrMany,
    Prose,
    Ratio,
    Tokens,
    Whole,
)
from pipeline.core import digest

# token_decile.json of the published chunker gives a length for each thousand tokens up to 8k.
LARGEST_ETTIN_CHUNK: Final = 8_999
LARGEST_CHUNK: Final = 1_000_000
LARGEST_COUNT: Final = 2**31 - 1


def _tokenizer_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, revision = given.get("name"), given.get("revision")
    if name is None or "revision" not in given:
        return
    is_hub_id = name != "modernbert" and not name.endswith(".json")
    if is_hub_id and revision is None:
        yield "revision", f'got nothing, expected {REVISION.expected} for the Hub id "{name}"'
    if not is_hub_id and revision is not None:
        yield "revision", f'got "{revision}", expected no revision with "{name}", which has none'


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSpec:
    """Which tokenizer turns text into tokens."""

    name: str = field(
        default="modernbert",
        metadata=key(
            TOKENIZER_NAME,
            "modernbert (built in), a tokenizer.json relative to this file, or a Hub id org/name.",
        ),
    )
    revision: str | None = field(
        default=None,
        metadata=key(REVISION, "Commit of the tokenizer on the Hub; for a Hub id, and only there."),
    )
    add_prefix_space: bool = field(
        default=False,
        metadata=key(
            Flag(), "Whether a space is put before every segment that does not begin with one."
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(_tokenizer_rule, self)


def _chunk_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    algorithm, size = given.get("algorithm"), given.get("size")
    if algorithm is None:
        return
    if algorithm == "whole-v1":
        reason = "with whole-v1, which has no such rule"
        for name in ("min_size", "skip_below", "seed"):
            if given.get(name) is not None:
                yield name, f"got {given[name]}, expected none {reason}"
        if given.get("add_eos"):
            yield "add_eos", f"got true, expected false {reason}"
        return
    for name, expected in (
        ("min_size", "an integer from 0 to size - 2"),
        ("skip_below", "an integer from 0"),
        ("seed", f"an integer from 0 to {LARGEST_SEED:,}"),
    ):
        if name in given and given[name] is None:
            yield name, f"got nothing, expected {expected} with {algorithm}"
    if size is None:
        return
    if size > LARGEST_ETTIN_CHUNK:
        reason = "because token_decile.json has no key past 8k"
        most = f"at most {LARGEST_ETTIN_CHUNK:,} with {algorithm}"
        yield "size", f"got {size}, expected {most}, {reason}"
    if (given.get("min_size") or 0) > size - 2:
        yield "min_size", f"got {given['min_size']}, expected at most size - 2, here {size - 2:,}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkSpec:
    """How documents are cut."""

    algorithm: Literal["ettin-reencode-v1", "ettin-slice-v1", "whole-v1"] = field(
        default="whole-v1",
        metadata=key(
            Choice("ettin-reencode-v1", "ettin-slice-v1", "whole-v1"),
            "Named and frozen way to cut: whole-v1 loses nothing, ettin-* cut as published.",
        ),
    )
    size: int = field(
        metadata=key(
            Whole(4, LARGEST_CHUNK),
            "Most tokens in one chunk; with ettin-* at most 8,999.",
        )
    )
    min_size: int | None = field(
        default=None,
        metadata=key(
            Whole(0, LARGEST_CHUNK),
            "A last piece below this borrows from the one before; for ettin-*, and needed.",
        ),
    )
    skip_below: int | None = field(
        default=None,
        metadata=key(
            Whole(0, LARGEST_CHUNK),
            "A last piece below this is left out and counted; for ettin-*, and needed.",
        ),
    )
    add_eos: bool = field(
        default=False,
        metadata=key(
            Flag(),
            "Kept from the published scripts, for ettin-*; every document ends with SEP anyway.",
        ),
    )
    seed: int | None = field(
        default=None,
        metadata=key(Whole(0, LARGEST_SEED), "Seed of the borrowing; for ettin-*, and needed."),
    )

    def __post_init__(self) -> None:
        apply_rule(_chunk_rule, self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSpec:
    """How chunks are chosen where a source gives fewer or more than each once."""

    algorithm: Literal["keyed-v1", "ettin-partitions-v1"] = field(
        default="keyed-v1",
        metadata=key(
            Choice("keyed-v1", "ettin-partitions-v1"),
            "Named and frozen way to choose: keyed-v1 takes single chunks, exact to one chunk; "
            "ettin-* whole partitions, as published.",
        ),
    )
    seed: int = field(default=0, metadata=key(Whole(0, LARGEST_SEED), "Seed of the choice."))


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSpec:
    """The one sequence in which a trainer sees the samples."""

    algorithm: Literal["ettin-pcg64dxsm-v1", "feistel-v1"] = field(
        default="feistel-v1",
        metadata=key(
            Choice("ettin-pcg64dxsm-v1", "feistel-v1"),
            "Named and frozen way to order samples: feistel-v1 needs no memory, ettin-* is as "
            "published.",
        ),
    )
    seed: int = field(metadata=key(Whole(0, LARGEST_SEED), "Seed of the order."))
    epoch: int = field(
        default=0,
        metadata=key(Whole(0, LARGEST_COUNT), "Which pass over the samples, from 0."),
    )
    global_batch_size: int = field(
        metadata=key(Whole(1, LARGEST_COUNT), "Samples of one step over all ranks.")
    )
    max_seq_len: int = field(
        metadata=key(Whole(3, LARGEST_CHUNK), "Most tokens of a sample that the trainer takes.")
    )
    view: Literal["stored", "encoder", "decoder"] = field(
        default="stored",
        metadata=key(
            Choice("stored", "encoder", "decoder"),
            "Tokens as stored, or as an encoder's or decoder's trainer rewrites them.",
        ),
    )
    window_tokens: int = field(
        default=8_500_000_000,
        metadata=key(Tokens(), "Tokens of one window of the order, as between two checkpoints."),
    )
    format: Literal["parquet", "mds"] = field(
        default="parquet",
        metadata=key(
            Choice("parquet", "mds"),
            "Form of the ordered rows: parquet as published, or MDS shards to train from.",
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSpec:
    """The form of the files."""

    dtype: Literal["uint16", "uint32"] = field(
        default="uint32",
        metadata=key(Choice("uint16", "uint32"), "Integer type in which tokens are stored."),
    )
    size_limit: int = field(
        default=64 * 2**20,
        metadata=key(
            # Offsets in a shard are 32 bits wide.
            ByteSize(at_least=1024, at_most=2**32 - 1),
            "Most bytes in one shard, from 1024 to just below 4GiB.",
        ),
    )


_TOKENIZER = Section(TokenizerSpec, _tokenizer_rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """Everything that decides the bytes of a data set, and where it was declared."""

    name: str = field(metadata=key(NAME, "Name of the mixture."))
    description: str = field(
        default="",
        metadata=key(Prose(), "What the mixture is for, in free words.", changes_bytes=False),
    )
    assumptions: tuple[str, ...] = field(
        default=(),
        metadata=key(
            OneOrMany(Prose()),
            "What was taken for granted where the record is silent or contradicts itself; plan "
            "prints it.",
            changes_bytes=False,
        ),
    )
    scale: Fraction = field(
        default=Fraction(1),
        metadata=key(
            Ratio(),
            "Factor of every budget, in whole tokens, for a miniature such as 1/1000000. One below "
            "1 reads a part of the files, draws by keyed-v1, and makes one step of what is less.",
        ),
    )
    phase: str = field(
        default="checkpoint", metadata=key(NAME, "Stage of training that the mixture is for.")
    )
    tokenizer: TokenizerSpec = field(
        default_factory=TokenizerSpec,
        metadata=key(_TOKENIZER, "Which tokenizer turns text into tokens."),
    )
    chunk: ChunkSpec = field(
        metadata=key(Section(ChunkSpec, _chunk_rule), "How documents are cut.")
    )
    sources: tuple[Source, ...] = field(
        metadata=key(SOURCES, "Where documents come from, by a name of your choice.")
    )
    dedup: DedupSpec | None = field(
        default=None,
        metadata=key(
            Nullable(Section(DedupSpec)),
            "Which documents are dropped because an earlier one, by source, file and row, says the "
            "same.",
        ),
    )
    decontaminate: DecontaminateSpec | None = field(
        default=None,
        metadata=key(
            Nullable(Section(DecontaminateSpec)),
            "Which documents are dropped because they hold evaluation texts.",
        ),
    )
    validation: ValidationSpec | None = field(
        default=None,
        metadata=key(
            Nullable(Section(ValidationSpec)),
            "Which whole documents are set aside for validation, as an output of its own.",
        ),
    )
    keep_dropped: Fraction | None = field(
        default=None,
        metadata=key(
            Nullable(Ratio(largest=1)),
            "Part of the documents dropped by filters, dedup and decontamination that is kept "
            "aside in dropped/, such as 0.01; 1 keeps all.",
        ),
    )
    sample: SampleSpec = field(
        default_factory=SampleSpec,
        metadata=key(Section(SampleSpec), "How chunks are chosen to meet budgets."),
    )
    order: OrderSpec = field(
        metadata=key(Section(OrderSpec), "The one sequence in which a trainer sees the samples.")
    )
    shards: ShardSpec = field(
        default_factory=ShardSpec, metadata=key(Section(ShardSpec), "The form of the files.")
    )
    on_error: Literal["stop", "skip"] = field(
        default="stop",
        metadata=key(
            Choice("stop", "skip"), "Whether a bad document stops the work, or is counted and left."
        ),
    )
    folder: Path
    """The file's folder, against which paths are read; not part of the fingerprint."""
    overrides: tuple[str, ...] = ()
    """What `--set` gave, as normalised key=value, sorted; recorded, not part of the fingerprint."""

    def declaration(self) -> dict[str, Any]:
        """Return what decides the bytes, with defaults filled in, as JSON-able values. Pure."""
        sources = {source.name: to_plain(source) for source in self.sources}
        return {**to_plain(self), "sources": sources}

    @property
    def fingerprint(self) -> str:
        """The sha256 of the declaration's canonical JSON."""
        return digest.fingerprint(self.declaration())


MIXTURE: Final = Section(Mixture, composing=("extends", "origins"))
"""The whole file, as one kind."""
