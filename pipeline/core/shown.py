"""Text as it may be shown and stored: without secrets of addresses, without terminal escapes.

An address in a mixture may hold `user:password@`, or be signed in its query, as those that stores
hand out for a while. Both are sent to the host, and appear nowhere else.
"""

import re
from typing import Final

# Of other schemes a lone name before @ is no secret: in abfs://container@account it is a folder.
_LOGIN: Final = re.compile(
    r"\b(https?://)[^\s/?#\"'<>]*@|\b(\w[\w+.-]*://)[^\s/?#\"'<>@]*:[^\s/?#\"'<>]*@"
)
# To the end of the address, or to the punctuation of the sentence around it.
_QUERY: Final = re.compile(r"\?([^\s\"'<>#?]+?)(?=[:,.;)]*(?:[\s\"'<>#?]|$))")
_SECRET: Final = re.compile(
    r"x-(amz|goog|oss)-.*|sig|signature|policy|(.*[-_])?(token|secret|password|passwd|pwd)"
    r"|(.*[-_])?(auth|authorization|jwt|sas|credentials?)|api[-_]?key|access[-_]?key(id)?"
    r"|awsaccesskeyid|googleaccessid|key-pair-id",
    re.IGNORECASE,
)
# Beside a signature, what it signs: when it ends, who may read what.
_SIGNED: Final = re.compile(r"expires|s[eprtv]|spr|sip|srt|ss|sk[a-z]{1,3}|hmac", re.IGNORECASE)
_IS_SIGNATURE: Final = re.compile("sig|signature", re.IGNORECASE)
# Controls but tab and line feed, and marks that turn or break lines: a terminal would obey them.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def without_secrets(text: str) -> str:
    """Return an address, or a text with addresses in it, without logins and signatures. Pure."""
    return _QUERY.sub(lambda match: _public_query(match[1]), _LOGIN.sub(r"\1\2", text))


def printable(text: str) -> str:
    """Return text with what a terminal would obey as escapes of JSON. Pure."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _public_query(query: str) -> str:
    parts = query.split("&")
    names = [part.partition("=")[0] for part in parts]
    is_signed = any(_IS_SIGNATURE.fullmatch(name) for name in names)
    kept = [
        part
        for part, name in zip(parts, names, strict=True)
        if not (
            ("=" in part and _SECRET.fullmatch(name)) or (is_signed and _SIGNED.fullmatch(name))
        )
    ]
    return "?" + "&".join(kept) if kept else ""
