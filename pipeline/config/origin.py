"""Origin: where the documents of a source come from, as a mixture declares it.

Three kinds: files beside the mixture (`path`), files of a data set on the Hub (`hub`), and files at
addresses (`url`: http, https, or any that `fsspec` knows, such as s3).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.config.fields import Section, apply_rule, key
from pipeline.config.text_types import GLOB, HUB_ID, LINE, REVISION
from pipeline.config.value_types import Choice, Flag, Nullable, OneOrMany, Text

_KINDS: Final = ("path", "hub", "url")
_ONE_OF_THEM: Final = "path (a glob of files), hub (a Hub id org/name) or url (an address)"
_OF_THE_HUB: Final = ("revision", "files", "config", "split")
URL: Final = Text(
    expected="an address such as https://host/name-{0000..0274}.json.gz or s3://bucket/*.parquet",
    pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\x7f]+$",
)


def _decode_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tokenizer, revision = given.get("tokenizer"), given.get("revision")
    if tokenizer is not None and tokenizer.endswith(".json") and revision is not None:
        yield "revision", f'got "{revision}", expected none with "{tokenizer}", which has none'


RAW: Final = Path("raw")
"""Where pulled files lie, unless a command names another folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeSpec:
    """How MDS rows of ids become documents: decoded to text, special tokens left out."""

    tokenizer: str = field(
        metadata=key(
            Text(
                expected="the path of a .json file, or a Hub id org/name",
                pattern=rf"^(?:[^\x00-\x1f\x7f]+\.json|{HUB_ID})$",
            ),
            "The tokenizer that made the ids: a tokenizer.json relative to this file, or a Hub id.",
        )
    )
    revision: str | None = field(
        default=None,
        metadata=key(
            Nullable(REVISION),
            "Commit of the tokenizer on the Hub; the newest, which the lock pins, if nothing is "
            "said.",
        ),
    )
    clean_up: bool = field(
        default=True,
        metadata=key(
            Flag(),
            "Whether spaces before punctuation go, as they do where the published scripts decode "
            "the ids of Llama 3.",
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(_decode_rule, self)


def origin_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Complain of keys that do not go together."""
    found = [kind for kind in _KINDS if given.get(kind) is not None]
    if len(found) != 1 and all(kind in given for kind in _KINDS):
        if found:
            yield found[1], f"got {' and '.join(found)}, expected only one of them"
        else:
            yield "path", f"got nothing, expected {_ONE_OF_THEM}"
    if "hub" in given and given["hub"] is None:
        for name in _OF_THE_HUB:
            if given.get(name) is not None:
                yield name, f"got {name} without hub, expected it beside hub alone"
    if given.get("hub") is not None and all(name in given for name in _OF_THE_HUB):
        names_files = given["files"] is not None
        names_split = given["config"] is not None or given["split"] is not None
        if names_files == names_split:
            got = "files beside config or split" if names_files else "neither files nor split"
            expected = "files (a glob), or split (with config) as the data set's card names them"
            yield "files", f"got {got}, expected {expected}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a source's documents come from; of the kinds of origin exactly one is given."""

    path: tuple[str, ...] | None = field(
        default=None,
        metadata=key(
            Nullable(OneOrMany(GLOB)), "Glob of files, or a list of globs, relative to this file."
        ),
    )
    hub: str | None = field(
        default=None,
        metadata=key(
            Nullable(Text(expected="a Hub id org/name", pattern=f"^{HUB_ID}$")),
            "A data set on the Hub, org/name.",
        ),
    )
    url: tuple[str, ...] | None = field(
        default=None,
        metadata=key(
            Nullable(OneOrMany(URL)),
            "Address of files, or a list: with {0000..0274} or {a,b} for many; with * and ** where "
            "the scheme can be listed, such as s3.",
        ),
    )
    revision: str | None = field(
        default=None,
        metadata=key(
            Nullable(LINE), "Branch, tag or commit on the Hub; main if nothing is said. For hub."
        ),
    )
    files: tuple[str, ...] | None = field(
        default=None,
        metadata=key(
            Nullable(OneOrMany(GLOB)), "Glob of files in the data set, or a list. For hub."
        ),
    )
    config: str | None = field(
        default=None,
        metadata=key(Nullable(LINE), "Configuration that the data set's card names. For hub."),
    )
    split: str | None = field(
        default=None, metadata=key(Nullable(LINE), "Split that the data set's card names. For hub.")
    )
    text: str = field(
        default="text", metadata=key(LINE, "Name of the field that holds a document's text.")
    )
    id: str | None = field(
        default="id",
        metadata=key(
            Nullable(Text(expected="a line of text, or null", pattern=LINE.pattern)),
            "Name of the field that holds a document's id; null makes ids of file name and row.",
        ),
    )
    partition: Literal["name", "path"] = field(
        default="name",
        metadata=key(
            Choice("name", "path"),
            "What names a file's partition: its name, as published, or, where names recur, its "
            "path below the folder that all files share.",
        ),
    )
    decode: DecodeSpec | None = field(
        default=None,
        metadata=key(
            Nullable(Section(DecodeSpec, _decode_rule)),
            "For MDS rows of ids: how they become text.",
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(origin_rule, self)
        # What is listed, and how often, decides nothing but which files there are.
        for name in ("path", "url", "files"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(sorted(set(value))))

    @property
    def kind(self) -> Literal["path", "hub", "url"]:
        """Which of the kinds it is."""
        if self.path is not None:
            return "path"
        return "hub" if self.hub is not None else "url"


ORIGIN: Final = Section(Origin, origin_rule, needs="one of path, hub, url")
