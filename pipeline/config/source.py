"""`Source`: a named origin of documents, its filters, and how much of it is taken.

An `Origin` is one of three kinds: files beside the mixture (`path`), files of a data set on the Hub
(`hub`), or files at addresses (`url`: http, https, or any that `fsspec` knows, such as s3).
"""

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Final, Literal

from pipeline.config.filters import FILTERS, Filter
from pipeline.config.sample import OwnSample
from pipeline.config.settings import (
    Complaints,
    Given,
    NamedSections,
    Section,
    only_one,
    only_with,
    optional,
    setting,
    settings,
)
from pipeline.config.value_types import (
    GLOB,
    HUB_ID,
    LINE,
    REVISION,
    SHARE,
    SOURCE_NAME,
    TOKEN_AMOUNT,
    TOKENIZER_FILE,
    TOKENS_OR_ALL,
    Integer,
    Nullable,
    Number,
    OneOrMany,
    Text,
)

RAW: Final = Path("raw")
"""Where pulled files are, unless a command names another folder."""

_FOR_HUB: Final = ("revision", "files", "config", "split")
_URL: Final = Text(
    expected="an address such as https://host/name-{0000..0274}.json.gz or s3://bucket/*.parquet",
    pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\x7f]+$",
)


@settings
class DecodeSpec:
    """How MDS rows of token ids become documents: decoded to text without special tokens."""

    tokenizer: str = setting(
        "The tokenizer that made the ids: a tokenizer.json relative to this file, or a Hub id.",
        TOKENIZER_FILE,
    )
    revision: str | None = optional(
        "Commit of the tokenizer on the Hub; by default the newest, which the lock pins.", REVISION
    )
    clean_up: bool = setting(
        "Whether to remove spaces before punctuation, as the published scripts do where they "
        "decode the ids of Llama 3.",
        default=True,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        tokenizer, revision = given.get("tokenizer"), given.get("revision")
        if tokenizer is not None and tokenizer.endswith(".json") and revision is not None:
            yield "revision", f'"{revision}"', f'none with "{tokenizer}", a file'


@settings
class Origin:
    needs: ClassVar[str] = "one of path, hub, url"

    path: tuple[str, ...] | None = optional(
        "Glob of files, or a list of globs, relative to this file.", OneOrMany(GLOB), is_set=True
    )
    hub: str | None = optional("A data set on the Hub, org/name.", HUB_ID)
    url: tuple[str, ...] | None = optional(
        "Address of files, or a list: with {0000..0274} or {a,b} for many; with * and ** where "
        "the scheme can be listed, such as s3.",
        OneOrMany(_URL),
        is_set=True,
        has_secrets=True,
    )
    revision: str | None = optional(
        "Branch, tag or commit on the Hub, main by default. For hub only.", LINE
    )
    files: tuple[str, ...] | None = optional(
        "Glob of files in the data set, or a list. For hub only.", OneOrMany(GLOB), is_set=True
    )
    config: str | None = optional("Configuration named on the data set's card. For hub only.", LINE)
    split: str | None = optional("Split named on the data set's card. For hub only.", LINE)
    text: str = setting("Name of the field with a document's text.", LINE, default="text")
    id: str | None = setting(
        "Name of the field with a document's id; null makes ids from file name and row.",
        Nullable(Text(expected="a line of text, or null", pattern=LINE.pattern)),
        default="id",
    )
    partition: Literal["name", "path"] = setting(
        "What names a file's partition: its name, as published, or, where names recur, its path "
        "below the folder that all files share.",
        default="name",
    )
    files_per_partition: int = setting(
        "How many files in a row, sorted by name, make one partition: for thousands of small files,"
        " each of which is otherwise a partition and a task of its own.",
        Integer(1, 1_000_000),
        default=1,
        omits_default=True,
    )
    on_missing: Literal["stop", "skip"] = setting(
        "For path: whether what a pattern reaches and is no readable file, such as a link to"
        " nothing, stops the build, or is counted and left out.",
        default="stop",
        omits_default=True,
    )
    decode: DecodeSpec | None = setting(
        "For MDS rows of token ids: how they become text.", default=None
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        expected = "path (a glob of files), hub (a Hub id org/name) or url (an address)"
        yield from only_one(given, "path", "hub", "url", expected=expected)
        yield from only_with(given, "hub", *_FOR_HUB)
        if given.get("on_missing") == "skip" and given.get("path") is None:
            yield "on_missing", "skip", "it with path only"
        if given.get("hub") is not None and all(name in given for name in _FOR_HUB):
            names_files = given["files"] is not None
            names_split = given["config"] is not None or given["split"] is not None
            if names_files == names_split:
                got = "files with config or split" if names_files else "neither files nor split"
                yield "files", got, "files (a glob), or split (with config) as its card names them"

    @property
    def kind(self) -> Literal["path", "hub", "url"]:
        if self.path is not None:
            return "path"
        return "hub" if self.hub is not None else "url"

    @property
    def groups_files(self) -> bool:
        """Whether a partition may have several files."""
        return self.files_per_partition > 1


@settings
class Source:
    composed: ClassVar[tuple[str, ...]] = ("origin",)

    name: str
    """The source's key in the file; its folder in the output."""
    category: str = setting(
        "Group under which reports count the source.", LINE, default="uncategorised"
    )
    licence: str | None = optional(
        "Terms under which the source is published.", LINE, changes_bytes=False
    )
    origin: Origin = setting("Where the documents come from.", name="from")
    filters: tuple[Filter, ...] = setting(
        "What each document must pass, in this order.", FILTERS, default=()
    )
    tokens: int | Literal["all"] | None = setting(
        "Token budget; all, the default, takes each chunk once.", TOKENS_OR_ALL, default=None
    )
    share: Fraction | None = optional(
        "Share of the mixture's own tokens, instead of a budget: 30%, 12.5%, 1/3 or 0.3; all shares"
        " sum to 100%.",
        SHARE,
        # The tokens that it comes to are declared.
        changes_bytes=False,
    )
    epochs: Fraction | None = setting(
        "How often each chunk is sampled, instead of tokens: 2, 2.5 or 3/2.",
        Number(1000),
        default=None,
    )
    max_repetition: int = setting(
        "How often one chunk may be sampled at most, for a budget larger than the source.",
        Integer(1, 1000),
        default=1,
    )
    sample: OwnSample | None = setting(
        "How chunks are sampled to meet the budget, where not as the mixture says.",
        default=None,
        omits_default=True,
    )
    expected: int | None = optional(
        "Tokens that `all` or `epochs` should come to: shown by plan, used as the budget where "
        "`scale` is not 1, and compared with the result.",
        TOKEN_AMOUNT,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        tokens, epochs, share = (given.get(name) for name in ("tokens", "epochs", "share"))
        origin, sample = given.get("from"), given.get("sample")
        if origin is not None and origin.groups_files and sample is not None and sample.first:
            yield "sample", "first", "it with one file in a partition only"
        if tokens is not None and epochs is not None:
            yield "epochs", "both tokens and epochs", "only one of them"
        for name in ("tokens", "epochs"):
            if share is not None and given.get(name) is not None:
                yield "share", f"both share and {name}", "only one of them"
        if "tokens" not in given or "share" not in given:
            return
        is_budget = isinstance(tokens, int) or share is not None
        if is_budget and given.get("expected") is not None:
            yield "expected", "it with a budget", "it with `tokens: all` or epochs only"
        if not is_budget and given.get("max_repetition", 1) != 1:
            yield "max_repetition", "it without a budget", "it with `tokens: 5M` only"


SOURCES: Final = NamedSections(Section(Source), SOURCE_NAME)
