"""Readings: signs of how the released rows were made -> which known way fits all of them.

A reading is a way of making rows, with what a probe finds of rows that were made so. A sign that
was not found excludes none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.audit.attest.probe_checks import Sign
from pipeline.config import load_config
from pipeline.core.bundled import mixture_path

_LAYOUTS: Final = {
    "archives": "archives of the rows' text, of which ettin-pretraining-published makes rows again;"
    " shards are in orionweller/generic_data_v2 alone",
    "mds": "shards, which ettin-pretraining-published replays",
    "both": "shards, which ettin-pretraining-published replays, and archives of their text",
    "neither": "neither archives nor shards where they are expected",
}
_MIXTURES: Final = {"pre-training": "ettin-pretraining", "extension": "ettin-extension"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One way of making rows."""

    phase: str
    says: str
    settings: Mapping[str, object]
    """Keys of a mixture; empty where none makes such rows."""
    signs: Mapping[str, tuple[object, ...]]
    """By what a sign is about, the values that agree."""


def _readings() -> Iterator[Reading]:
    """Yield the known ways; a row of `ettin-reencode-v1` is cut to its size, others are not."""
    phase = "pre-training"
    again = ("each row", "untold")
    slices = ("documents", "untold")
    for algorithm, says, commonest, has_longer, specials, rewritten in (
        ("ettin-retokenize-v1",
         "slices of 1,024 ids, decoded with clean-up of spaces and tokenized again",
         (1025, 1026), True, again, (True, False, True)),
        ("", "slices of 1,024 ids, decoded without clean-up of spaces and tokenized again",
         (1025, 1026), True, again, (False, False, True)),
        ("", "slices of 1,024 ids, decoded with their special tokens and tokenized again",
         (1025, 1026), True, again, (None, True, None)),
        ("", "slices of 1,024 ids with CLS and SEP put around them",
         (1025, 1026), True, again, (False, None, False)),
        ("", "slices of 1,022 ids, decoded with clean-up of spaces and tokenized again",
         (1023, 1024), None, again, (True, False, True)),
        ("ettin-slice-v2", "slices of 1,024 ids", (1024,), False, slices, (None, None, None)),
        ("ettin-slice-v1", "slices of 1,022 ids", (1022,), False, slices, (None, None, None)),
        ("ettin-reencode-v1", "slices of 1,022 ids, some of them encoded again",
         (1023, 1024), False, ("starts of rows",), (None, None, None)),
    ):  # fmt: skip
        names = ("has_longer", "is_cleaned", "has_inside", "is_fixed")
        found = dict(zip(names, (has_longer, *rewritten), strict=True))
        yield Reading(
            phase=phase,
            says=says,
            settings={"chunk.algorithm": algorithm, "chunk.size": 1024} if algorithm else {},
            signs={"commonest": commonest, "specials": specials}
            | {name: (value,) for name, value in found.items() if value is not None},
        )
    phase = "extension"
    for algorithm, says, longest, specials in (
        ("ettin-slice-v2", "slices of 8,000 ids", (8000,), slices),
        ("ettin-slice-v1", "slices of 7,998 ids", (7998,), slices),
        ("", "slices of 7,998 ids between CLS and SEP", (8000,), again),
        ("ettin-reencode-v1", "slices of 7,998 ids, some of them encoded again", (7999, 8000),
         ("starts of rows",)),
        ("ettin-retokenize-v1", "slices of 8,000 ids, decoded and tokenized again", (8001, 8002),
         again),
    ):  # fmt: skip
        yield Reading(
            phase=phase,
            says=says,
            settings={"chunk.algorithm": algorithm, "chunk.size": 8000} if algorithm else {},
            signs={"longest": longest, "specials": specials},
        )


READINGS: Final = tuple(_readings())


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What all signs of a phase come to."""

    phase: str
    readings: tuple[str, ...]
    """Those that fit; none where no known way does."""
    settings: Mapping[str, object]
    """Keys of a mixture for the one that fits, and those that follow from single signs."""
    differs: Mapping[str, object]
    """What the bundled mixture has for these keys, where it is something else."""
    notes: tuple[str, ...]
    """What was found that no key can be set to."""
    ids: tuple[str, ...] = ()
    """What was found of ids of documents."""
    layout: str = ""
    """What lies at the head of the repository, if it was asked."""

    @property
    def agrees(self) -> bool:
        """Whether the bundled mixture is set so, as far as is known."""
        return bool(self.readings) and not self.differs and not self.notes

    def lines(self) -> Iterator[str]:
        """Yield the conclusion, and how to set it."""
        known = " or ".join(self.readings) or "no known way fits all that was found"
        yield f"{self.phase}: {known}"
        if self.settings:
            keys = " ".join(f"{key}={_shown(value)}" for key, value in self.settings.items())
            yield f"  set: {keys}"
        for key, value in self.differs.items():
            yield f"  differs: {_MIXTURES[self.phase]} has {key}={_shown(value)}"
        yield from (f"  note: {note}" for note in self.notes)
        if self.ids:
            yield f"  ids: {'; '.join(self.ids)}"
        if self.layout in _LAYOUTS:
            yield f"  at head: {_LAYOUTS[self.layout]}"


def conclude(signs: Sequence[Sign]) -> list[Conclusion]:
    """Return what the signs of each phase come to, of those phases that have any."""
    by_phase: dict[str, list[Sign]] = {}
    for sign in signs:
        by_phase.setdefault(sign.about.partition(".")[0], []).append(sign)
    return [_conclude(phase, own) for phase, own in sorted(by_phase.items())]


def _conclude(phase: str, signs: Sequence[Sign]) -> Conclusion:
    found: dict[str, list[object]] = {}
    for sign in signs:
        found.setdefault(sign.about.partition(".")[2], []).append(sign.value)
    of_phase = [one for one in READINGS if one.phase == phase]
    told = any(name in one.signs for one in of_phase for name in found)
    fit = [one for one in of_phase if _fits(one, found)] if told else []
    settings = dict(fit[0].settings) if len(fit) == 1 else {}
    settings |= {key: value for name, values in found.items() for value in values
                 for key, value in _setting(name, value)}  # fmt: skip
    declared = load_config(mixture_path(_MIXTURES[phase])).declaration()
    differs = {
        key: _at(declared, key) for key, value in settings.items() if _at(declared, key) != value
    }
    notes = [note for name, values in found.items() for note in _notes(name, values)]
    if fit and not any(one.settings for one in fit):
        notes.append("no chunker makes such rows; chunk.algorithm cannot be set to it")
    return Conclusion(
        phase=phase,
        readings=tuple(one.says for one in fit) if told else ("nothing is known of rows",),
        settings=settings,
        differs=differs,
        notes=tuple(notes),
        ids=tuple(sign.says for sign in signs if sign.about.endswith((".id_bytes", ".ids"))),
        layout=str(found.get("layout", [""])[0]),
    )


def _fits(reading: Reading, found: Mapping[str, Sequence[object]]) -> bool:
    return all(
        value in values for name, values in reading.signs.items() for value in found.get(name, ())
    )


def _setting(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """Yield the key that follows from one sign."""
    if name == "compression":
        yield "shards.header_compression", value
    elif name == "dtype":
        yield "shards.dtype", value
    elif name == "longest_first" and value:
        yield "sample.algorithm", "ettin-longest-first-v1"
    elif name == "has_prefix":
        yield "tokenizer.add_prefix_space", value


def _notes(name: str, values: Sequence[Any]) -> Iterator[str]:
    """Yield what signs of one thing say that no key of a mixture can be set to."""
    told = [value for number, value in enumerate(values) if value not in values[:number]]
    if len(told) > 1:
        yield f"{name}: files say {' and '.join(map(_shown, told))}, which contradict each other"
    # <urn:uuid:…> has 47 characters, as DCLM's ids of documents have.
    if name == "id_bytes" and not 46 <= told[0] <= 49:
        yield (
            f"ids of documents have {told[0]} bytes, expected 47 as in <urn:uuid:…>: they are"
            " others, or the counted ids are not the stored ones"
        )
    if name == "longest_first" and not told[0]:
        yield "the longest rows do not come first, as ettin-longest-first-v1 has them"


def _at(declared: Any, key: str) -> object:
    for part in key.split("."):
        declared = (declared or {}).get(part)
    return declared


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
