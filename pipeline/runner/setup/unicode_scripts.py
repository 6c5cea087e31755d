"""Unicode scripts: texts -> the scripts of their letters. Pure.

A script is not a language, and is called none: the filter `language` tells languages apart.
Source: Unicode's names of letters (`unicodedata`) begin with their script.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_SAMPLED: Final = 1 << 17
_NAMES: Final = {"CJK": "Han", "HIRAGANA": "Japanese kana", "KATAKANA": "Japanese kana"}
_MOSTLY, _SOME = 0.9, 0.05


def script_shares(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of each script in the letters of texts, the largest first."""
    most = _SAMPLED // max(len(texts), 1) + 1
    letters = Counter(letter for text in texts for letter in text[:most] if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, number in letters.items():
        scripts[_script(letter)] += number
    total = scripts.total()
    largest_first = sorted(scripts.items(), key=lambda item: (-item[1], item[0]))
    return {name: number / total for name, number in largest_first}


def describe_scripts(shares: dict[str, float]) -> str:
    """Return a few words for people, such as "mostly Latin script"."""
    if not shares:
        return "no letters"
    first, share = next(iter(shares.items()))
    if share >= _MOSTLY:
        return f"mostly {first} script"
    named = [f"{name} {one:.0%}" for name, one in shares.items() if one >= _SOME]
    return f"scripts: {', '.join(named)}"


@lru_cache(maxsize=1 << 16)
def _script(letter: str) -> str:
    word = unicodedata.name(letter, "OTHER").split()[0].split("-")[0]
    return _NAMES.get(word, word.capitalize())
