"""What a person declares of a pool's order: which pool, whose tokens, in which sequence.

A pool is what others have published; nothing of it is made again. So only what decides the bytes of
its rows in order is part of the fingerprint, and a replay of a pool on the Hub has the fingerprint
of a replay of its copy on disk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.config.fields import Section, apply_rule, key, to_plain
from pipeline.config.mixture import OrderSpec, ShardSpec, TokenizerSpec
from pipeline.config.text_types import HUB_ID, LINE, NAME
from pipeline.config.value_types import Nullable, OneOrMany, Prose, Text
from pipeline.core import digest


def _pool_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "hub" not in given or "path" not in given:
        return
    if given["hub"] is None and given["path"] is None:
        yield "hub", "got nothing, expected hub (a Hub id org/name) or path (a folder)"
    if given["hub"] is not None and given["path"] is not None:
        yield "path", "got hub and path, expected only one of them"
    if given["hub"] is None:
        for name in ("revision", "folder"):
            if given.get(name) is not None:
                yield name, f"got {name} without hub, expected it beside hub alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSpec:
    """Where a published pool lies: on the Hub, or on disk."""

    hub: str | None = field(
        default=None,
        metadata=key(
            Nullable(Text(expected="a Hub id org/name", pattern=f"^{HUB_ID}$")),
            "A data set of MDS shards on the Hub, org/name.",
        ),
    )
    revision: str | None = field(
        default=None,
        metadata=key(
            Nullable(LINE), "Branch, tag or commit on the Hub; main if nothing is said. For hub."
        ),
    )
    folder: str | None = field(
        default=None,
        metadata=key(
            Nullable(LINE), "Folder of the data set that holds index.json; train by default."
        ),
    )
    path: str | None = field(
        default=None,
        metadata=key(
            Nullable(LINE), "Folder on disk that holds index.json, relative to this file."
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(_pool_rule, self)
        if self.hub is not None and self.folder is None:
            object.__setattr__(self, "folder", "train")


def _replay_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if given.get("pool") is not None and given.get("name", "") is None:
        yield "name", f"got nothing, expected {NAME.expected}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Everything beside the pool's bytes that decides the bytes of its rows in order."""

    name: str | None = field(
        default=None,
        metadata=key(NAME, "Name of the replay; a file needs one.", changes_bytes=False),
    )
    description: str = field(
        default="",
        metadata=key(Prose(), "What the replay is for, in free words.", changes_bytes=False),
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
    pool: PoolSpec | None = field(
        default=None,
        metadata=key(
            Section(PoolSpec, _pool_rule, needs="one of hub, path"),
            "The published pool whose rows are put in order; a file that has it is a replay.",
            # Its index decides, wherever it lies.
            changes_bytes=False,
        ),
    )
    phase: str = field(
        default="checkpoint", metadata=key(NAME, "Stage of training that the pool is for.")
    )
    tokenizer: TokenizerSpec = field(
        default_factory=TokenizerSpec,
        metadata=key(Section(TokenizerSpec), "Whose [CLS] and [SEP] the views put in."),
    )
    order: OrderSpec = field(
        metadata=key(Section(OrderSpec), "The one sequence in which a trainer sees the samples.")
    )
    shards: ShardSpec = field(
        default_factory=ShardSpec, metadata=key(Section(ShardSpec), "The form of MDS files.")
    )
    folder: Path = Path()
    """The file's folder, against which paths are read; not part of the fingerprint."""
    overrides: tuple[str, ...] = ()
    """What `--set` gave, as normalised key=value, sorted; recorded, not part of the fingerprint."""

    def __post_init__(self) -> None:
        apply_rule(_replay_rule, self)

    def declaration(self) -> dict[str, Any]:
        """Return what decides the bytes, with defaults filled in, as JSON-able values. Pure."""
        declared: dict[str, Any] = to_plain(self)
        return declared

    @property
    def fingerprint(self) -> str:
        """The sha256 of the declaration's canonical JSON."""
        return digest.fingerprint(self.declaration())


REPLAY: Final = Section(Replay, _replay_rule, composing=("extends", "origins"))
"""The whole file, as one kind."""
