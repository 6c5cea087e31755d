"""Minimal pairs: whether a model holds a grammatical sentence likelier than one that is not.

The two differ in a word or two, or in their order, so what is likelier is the better grammar. The
file beside this module has 52 pairs for each of 12 phenomena, written for it.

Source of the method: Warstadt et al., "BLiMP: The Benchmark of Linguistic Minimal Pairs for
English", TACL 2020, whose files can be read too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.core.progress import ReportProgress, no_progress
from pipeline.train.evaluation.line_records import read_lines
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.sentence_scores import sentence_scores

SHIPPED_PAIRS: Final = Path(__file__).with_name("minimal_pairs.jsonl")
_BLIMP: Final = {"phenomenon": "UID", "good": "sentence_good", "bad": "sentence_bad"}


@dataclass(frozen=True, kw_only=True, slots=True)
class MinimalPair:
    phenomenon: str
    good: str
    bad: str


def read_pairs(path: Path = SHIPPED_PAIRS) -> list[MinimalPair]:
    """Read pairs with our keys or with those of BLiMP, by line. Raises: as `read_lines`."""
    return read_lines(MinimalPair, path, _from_blimp)


def _from_blimp(value: Any) -> Any:
    if isinstance(value, dict) and _BLIMP["good"] in value:
        return {ours: value[key] for ours, key in _BLIMP.items() if key in value}
    return value


def minimal_pairs(
    opened: OpenedModel, pairs: Sequence[MinimalPair], report: ReportProgress = no_progress
) -> dict[str, Any]:
    """Return the accuracy by phenomenon, and its mean over phenomena; a tie counts half.

    Raises: as `sentence_scores`.
    """
    texts = [text for one in pairs for text in (one.good, one.bad)]
    scores = sentence_scores(opened, texts, report)
    is_right = (np.sign(scores[::2] - scores[1::2]) + 1) / 2
    names = np.array([one.phenomenon for one in pairs])
    by_phenomenon = {
        name: {
            "accuracy": float(is_right[names == name].mean()),
            "num_pairs": int((names == name).sum()),
        }
        for name in sorted({*names.tolist()})
    }
    accuracies = [one["accuracy"] for one in by_phenomenon.values()]
    return {
        "accuracy": float(np.mean(accuracies)),
        "num_pairs": len(pairs),
        "by_phenomenon": by_phenomenon,
    }
