"""What mixtures, replays and recipes have in common: identity, tokenizer, order and shards.

A fingerprint depends on meaning alone: not on the order of keys, comments, the description, the
file's folder, how files were composed, or what came from an override.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.config.settings import (
    Complaints,
    Given,
    Section,
    optional,
    setting,
    settings,
    to_plain,
)
from pipeline.config.value_types import (
    FREE_TEXT,
    LARGEST_COUNT,
    LINE,
    NAME,
    REVISION,
    SEED,
    SHARD_SIZE,
    TOKEN_AMOUNT,
    TOKENIZER_NAME,
    Integer,
    Number,
    OneOrMany,
    Schema,
    reject,
)
from pipeline.config.yaml_nodes import Node, Problems
from pipeline.core import digest
from pipeline.core.errors import ConfigError

LARGEST_LENGTH: Final = 1_000_000


@settings
class Assumption:
    """What is assumed where the published record is silent or contradicts itself."""

    says: str = setting("What is assumed, in a sentence or two.", FREE_TEXT)
    confidence: Fraction | None = optional(
        "How likely it is, from 0 to 1, by the judgement of whoever wrote it.", Number()
    )
    because: tuple[str, ...] = setting(
        "What it follows from: published facts by repository and path or its beginning, or other "
        "sources in words.",
        OneOrMany(LINE),
        default=(),
    )


class _AssumptionType(Section):
    """An `Assumption`; its sentence alone stands for one without confidence and facts."""

    expected = "a sentence, or a mapping with says"

    def check(self, node: Node, where: str, problems: Problems, **others: Any) -> Any:
        if node.kind == "mapping":
            return super().check(node, where, problems, **others)
        if node.kind != "text":
            return reject(node, where, problems, self.expected)
        return Assumption(says=node.text)

    def json_schema(self) -> Schema:
        return {"anyOf": [FREE_TEXT.json_schema(), super().json_schema()]}


@settings
class Declaration:
    name: str | None = setting("Name of the mixture, replay or recipe.", NAME)
    description: str = setting(
        "What it is for, in free text.", FREE_TEXT, default="", changes_bytes=False
    )
    assumptions: tuple[Assumption, ...] = setting(
        "What was assumed where the published record is silent or contradicts itself.",
        OneOrMany(_AssumptionType(Assumption)),
        default=(),
        changes_bytes=False,
    )
    overrides: tuple[str, ...] = ()
    """Normalised key=value of `--set`, sorted; not part of the fingerprint."""

    def declaration(self) -> dict[str, Any]:
        """Return what decides the result, defaults included, as JSON-able values. Pure."""
        declared: dict[str, Any] = to_plain(self)
        return declared

    @property
    def fingerprint(self) -> str:
        return digest.fingerprint(self.declaration())


@settings
class TokenizerSpec:
    name: str = setting(
        "modernbert (built in), a tokenizer.json relative to this file, or a Hub id org/name.",
        TOKENIZER_NAME,
        default="modernbert",
    )
    revision: str | None = setting(
        "Commit of the tokenizer on the Hub; required with a Hub id, and only allowed there.",
        REVISION,
        default=None,
    )
    add_prefix_space: bool = setting(
        "Whether to put a space before every segment that does not begin with one.", default=False
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        name, revision = given.get("name"), given.get("revision")
        if name is None or "revision" not in given:
            return
        is_hub_id = name != "modernbert" and not name.endswith(".json")
        if is_hub_id and revision is None:
            yield "revision", "nothing", f'{REVISION.expected} for the Hub id "{name}"'
        if not is_hub_id and revision is not None:
            yield "revision", f'"{revision}"', f'no revision with "{name}", which is not on the Hub'


@settings
class OrderSpec:
    algorithm: Literal["ettin-pcg64dxsm-v1", "feistel-v1"] = setting(
        "Versioned shuffling algorithm: feistel-v1 needs no memory, ettin-* is the published one.",
        default="feistel-v1",
    )
    seed: int = setting("Seed of the order.", SEED)
    epoch: int = setting("Number of the pass, from 0.", Integer(0, LARGEST_COUNT), default=0)
    global_batch_size: int = setting(
        "Samples of one step over all ranks.", Integer(1, LARGEST_COUNT)
    )
    max_seq_len: int = setting(
        "Most tokens of a sample that the trainer takes.", Integer(3, LARGEST_LENGTH)
    )
    allow_cut: bool = setting(
        "Whether more than 0.1 % of the tokens may lie beyond max_seq_len, where no trainer sees "
        "them; chunks of ettin-* lose what they lost when they were published.",
        default=False,
        changes_bytes=False,
    )
    view: Literal["stored", "encoder", "decoder"] = setting(
        "Tokens as stored, or as the trainer of an encoder or a decoder rewrites them.",
        default="stored",
    )
    window_tokens: int = setting(
        "Tokens of one checkpoint window: what is trained on between two checkpoints.",
        TOKEN_AMOUNT,
        default=8_500_000_000,
    )
    format: Literal["parquet", "mds"] = setting(
        "Format of the ordered rows: parquet as published, or MDS shards to train from.",
        default="parquet",
    )
    rows: Literal["written", "index"] = setting(
        "Whether rows are written in order, or read from the pool by their place in the order; all "
        "else of the output is the same.",
        default="written",
        changes_bytes=False,
    )
    partitions: Literal["sorted", "listed"] = setting(
        "Order of the partitions in the pool, and so of its rows before they are shuffled: sorted "
        "by name, or as a listing has them.",
        default="sorted",
        omits_default=True,
    )
    listing: str | None = optional(
        "File that lists every partition once, as source/folder, one a line; or an index.json "
        "whose shards name them. Relative to this file; for listed only, and required.",
        LINE,
        # Its content decides, wherever it is.
        changes_bytes=False,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        if "partitions" not in given or "listing" not in given:
            return
        is_listed, listing = given["partitions"] == "listed", given["listing"]
        if is_listed and listing is None:
            yield "listing", "nothing", "a file with partitions: listed"
        if not is_listed and listing is not None:
            yield "listing", f'"{listing}"', "none without partitions: listed"


@settings
class ShardSpec:
    dtype: Literal["uint16", "uint32"] = setting(
        "Integer type in which tokens are stored.", default="uint32"
    )
    size_limit: int = setting(
        "Maximum bytes of one shard, from 1024 to just below 4GiB.", SHARD_SIZE, default=64 * 2**20
    )
    header_compression: Literal["zstd"] | None = setting(
        "What the header of a shard says of compression: zstd as in published shards, or null. The"
        " shards themselves are never compressed.",
        default=None,
        omits_default=True,
    )
    index_compression: Literal["zstd"] | None = setting(
        "zstd, with that header, to name compressed shards in the indexes of train/, as published;"
        " they are not written, and StreamingDataset deletes shards beside such an index.",
        default=None,
        omits_default=True,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        if given.get("index_compression") and given.get("header_compression", "") is None:
            yield "index_compression", "zstd", "it with header_compression: zstd only"


@settings
class OrderedData(Declaration):
    """What a mixture and a replay declare alike."""

    phase: str = setting(
        "Phase of training: checkpoint (pretraining), ext, decay, or a name of your own.",
        NAME,
        default="checkpoint",
    )
    tokenizer: TokenizerSpec = setting(
        "Which tokenizer turns text into tokens; whose [CLS] and [SEP] the views insert.",
        default=TokenizerSpec(),
    )
    order: OrderSpec = setting("The one sequence in which a trainer sees the samples.")
    shards: ShardSpec = setting("The form of the shards.", default=ShardSpec())
    folder: Path = Path()
    """The file's folder, against which paths are read; not part of the fingerprint."""

    def declaration(self) -> dict[str, Any]:
        return with_listing(to_plain(self), self)


def with_listing(declared: dict[str, Any], of: OrderedData) -> dict[str, Any]:
    """Return a declaration with the sha256 of the listing of partitions, if there is one.

    Raises: ConfigError when it cannot be read.
    """
    if of.order.listing is None:
        return declared
    try:
        listing = digest.sha256_file(of.folder / of.order.listing)
    except OSError as error:
        raise ConfigError(
            f"order.listing: got {of.order.listing} ({error.strerror}), expected a file that lists"
            " the partitions",
            "paths are relative to the mixture file",
        ) from error
    return {**declared, "order": {**declared["order"], "listing": listing}}
