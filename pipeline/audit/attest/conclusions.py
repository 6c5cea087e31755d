"""Conclusions: what was found of released rows -> which known ways fit, and how to set them.

A sign that was not found excludes no candidate. What is bundled agrees only where it alone fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipeline.audit.attest.candidates import SIZES, candidates, fitting
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


Verdict = Literal["agrees", "contradicts", "not settled", "nothing known"]
"""Of the bundled mixture: it alone fits; it does not; others do too; rows were not asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What all signs of a phase come to."""

    phase: str
    verdict: Verdict
    ways: tuple[str, ...]
    """Those of making rows that fit."""
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

    def lines(self) -> Iterator[str]:
        """Yield the verdict, the ways that fit, and how to set them."""
        if len(self.ways) > 1:
            also = ", that of the bundled mixture among them" * (self.verdict == "not settled")
            yield f"{self.phase}: not settled: {len(self.ways)} ways fit{also}"
            yield from (f"  fits: {one}" for one in self.ways)
        elif self.verdict == "nothing known":
            yield f"{self.phase}: nothing is known of rows"
        else:
            known = self.ways[0] if self.ways else "no known way fits all that was found"
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
    known = list(candidates(SIZES[phase]))
    is_told = any(name in one.signs for one in known for name in found)
    fit = fitting(known, found) if is_told else []
    settings = dict(fit[0].settings) if len(fit) == 1 else {}
    settings |= {key: value for name, values in found.items() for value in values
                 for key, value in _setting(name, value)}  # fmt: skip
    declared = load_config(mixture_path(_MIXTURES[phase])).declaration()
    differs = {
        key: _at(declared, key) for key, value in settings.items() if _at(declared, key) != value
    }
    notes = [note for name, values in found.items() for note in _notes(name, values)]
    if fit and not any(one.settings for one in fit):
        notes.append("no algorithm of a mixture makes such rows")
    has_bundled = any(
        one.settings and all(_at(declared, key) == value for key, value in one.settings.items())
        for one in fit
    )
    verdict: Verdict = "not settled" if len(fit) > 1 else "agrees"
    if differs or notes or (is_told and not has_bundled):
        verdict = "contradicts"
    elif not is_told:
        verdict = "nothing known"
    return Conclusion(
        phase=phase,
        verdict=verdict,
        ways=tuple(one.says for one in fit),
        settings=settings,
        differs=differs,
        notes=tuple(notes),
        ids=tuple(sign.says for sign in signs if sign.about.endswith((".id_bytes", ".ids"))),
        layout=str(found.get("layout", [""])[0]),
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
