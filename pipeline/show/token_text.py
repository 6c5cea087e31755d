"""The text of each token of a row, also where a character is spread over several.

Text that a token has is shown as it is: whoever prints it must see to what controls and marks of
direction do there.
"""

from codecs import getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import ConfigError
from pipeline.core.ragged import ByteStrings
from pipeline.stages.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenText:
    """The pieces of a tokenizer."""

    tokenizer: Tokenizer
    pieces: ByteStrings | None
    """The bytes of each id; None where its tokens have no bytes of their own."""
    special: frozenset[int]
    _known: dict[int, bytes] = field(default_factory=dict, init=False, repr=False)
    """The bytes of ids that were asked for: to slice an array takes longer."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "TokenText":
        try:
            pieces = tokenizer.decode_table
        except ConfigError:
            pieces = None
        special = frozenset(tokenizer.special_ids.tolist())
        return cls(tokenizer=tokenizer, pieces=pieces, special=special)

    def tokens(self, ids: Uint32Array | Int64Array) -> list[dict[str, Any]]:
        """Return each token as id, text and kind: special, word, space, bytes or unknown.

        A run of tokens that have parts of characters are bytes, as `\\xe2\\x80`; the first of them
        has in `joined` the text of all of them.
        """
        if self.pieces is None:
            return [self._decoded(int(id_)) for id_ in ids]
        return self._spelled(ids.tolist())

    def plain(self, ids: Uint32Array | Int64Array) -> str:
        """Return the text of ids; special tokens are spelled, parts of characters replaced."""
        return self._joined(ids.tolist())

    def start(self, ids: Uint32Array, num_characters: int) -> str:
        """Return the first characters of a row, without special tokens."""
        # Mostly a token has several characters; a character has at most four bytes, each a token.
        for num_ids in (num_characters // 2, 4 * num_characters + 8):
            some = [id_ for id_ in ids[:num_ids].tolist() if id_ not in self.special]
            text = self._joined(some)
            if len(text) > num_characters or num_ids >= len(ids):
                break
        return text[:num_characters]

    def _joined(self, ids: Sequence[int]) -> str:
        if self.pieces is None:
            return self.tokenizer.decode_reference(ids)
        known = (self._bytes(id_) for id_ in ids)
        return b"".join(known).decode("utf-8", "replace")

    def _bytes(self, id_: int) -> bytes:
        """Return the bytes of an id; none of one that the tokenizer has not."""
        known = self._known.get(id_)
        if known is None:
            pieces = self.pieces
            known = b"" if pieces is None or id_ >= len(pieces) else pieces[id_].tobytes()
            self._known[id_] = known
        return known

    def _decoded(self, id_: int) -> dict[str, Any]:
        if id_ in self.special:
            return {"id": id_, "text": f"<{id_}>", "kind": "special"}
        text = self.tokenizer.decode_reference([id_])
        return {"id": id_, "text": text, "kind": _kind(text)}

    def _spelled(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        tokens: list[dict[str, Any]] = []
        broken: list[bytes] = []
        for id_ in ids:
            data = self._bytes(id_)
            if id_ in self.special:
                token = {"text": data.decode("utf-8", "backslashreplace"), "kind": "special"}
            elif not data:
                token = {"text": f"<{id_}>", "kind": "unknown"}
            elif (whole := _whole(data)) is not None:
                token = {"text": whole, "kind": _kind(whole)}
            else:
                token = {"text": _hex(data), "kind": "bytes"}
            is_part = token["kind"] == "bytes"
            if not (is_part and _begins(b"".join([*broken, data]))):
                _join(tokens, broken)
            if is_part:
                broken.append(data)
            tokens.append({"id": id_, **token})
            if broken and _whole(b"".join(broken)) is not None:
                _join(tokens, broken)
        _join(tokens, broken)
        return tokens


def _join(tokens: list[dict[str, Any]], broken: list[bytes]) -> None:
    """Give the first token of a run of bytes the text of the run, which ends."""
    if broken:
        tokens[-len(broken)]["joined"] = b"".join(broken).decode("utf-8", "backslashreplace")
        broken.clear()


def _whole(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _begins(data: bytes) -> bool:
    """Return whether more bytes could make a text of these."""
    try:
        getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _hex(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _kind(text: str) -> str:
    return "space" if not text.strip() else "word"
