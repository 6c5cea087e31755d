"""Documents with added tokens or text to normalise, cut into segments that the kernel can encode.

Source: `tokenizers` 0.23.3, `added_vocabulary.rs`: special tokens are found in the raw text, then
the text between is normalised, then the other added tokens are found.
"""

import re

from tokenizers import normalizers

# Unicode White_Space, as in the library's regular expressions; `str.isspace` accepts more.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_MASK = "[MASK]"
_SPECIAL_IDS = {
    "<|padding|>": 1,
    "<|endoftext|>": 50279,
    "[UNK]": 50280,
    "[CLS]": 50281,
    "[SEP]": 50282,
    "[PAD]": 50283,
    _MASK: 50284,
}
# Runs of spaces are added tokens too, which the kernel encodes.
_OTHER_IDS = {
    "|||IP_ADDRESS|||": 0,
    "|||EMAIL_ADDRESS|||": 50277,
    "|||PHONE_NUMBER|||": 50278,
    **{f"[unused{number}]": 50285 + number for number in range(83)},
}
_SPECIAL = re.compile("|".join(map(re.escape, _SPECIAL_IDS)))
_OTHER = re.compile("|".join(map(re.escape, _OTHER_IDS)))


def plan(text: str) -> list[int | bytes]:
    """Return ids of added tokens and, between them, segments of normalised UTF-8. Pure."""
    steps: list[int | bytes] = []
    done = 0
    for match in _SPECIAL.finditer(text):
        start = match.start()
        if match[0] == _MASK:  # Its `lstrip` takes white space, up to the token before it.
            start = done + len(text[done:start].rstrip(WHITE_SPACE))
        _plan_between(_normalise(text[done:start]), steps)
        steps.append(_SPECIAL_IDS[match[0]])
        done = match.end()
    _plan_between(_normalise(text[done:]), steps)
    return steps


def _normalise(text: str) -> str:
    """Apply the library's NFC, 25 ns per byte, where needed; it never crosses a line feed."""
    if text.isascii():
        return text
    nfc = normalizers.NFC().normalize_str
    return "\n".join(line if line.isascii() else nfc(line) for line in text.split("\n"))


def _plan_between(text: str, steps: list[int | bytes]) -> None:
    done = 0
    for match in _OTHER.finditer(text):
        if match.start() > done:
            steps.append(text[done : match.start()].encode())
        steps.append(_OTHER_IDS[match[0]])
        done = match.end()
    if done < len(text):
        steps.append(text[done:].encode())
