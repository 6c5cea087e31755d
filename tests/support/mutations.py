"""Seeded damage to files: of their bytes, and of what they say, with the digest put right again.

A mutation takes the bytes of a file and a generator, and returns other bytes. What a digest would
refuse at once is sealed anew, since a file from a stranger has a digest that matches.
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pickle
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml  # type: ignore[import-untyped,unused-ignore]
import zstandard

from pipeline.core.digest import canonical_json, sha256_bytes

Mutation = Callable[[bytes, random.Random], bytes]

_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0,
    1e308, float("nan"), float("inf"), "", " ", "x", "..", "../x", "/etc/passwd", "a/../../b",
    "\0", "a\0b", "\ud800", "\u202e", "\x1b[31m", "x" * 300, "x" * 100_000, "é", "1e9", "0x10",
    "2026-01-01", "no", "~", "*", "**", "[", "{a,b}", "{1..3}", [], [[]], {}, {"": 0}, [None],
    [0, "x"], {"x": {"y": []}}, "sha256:" + "0" * 64, "0" * 64, "0" * 40,
)  # fmt: skip
_DEEP = 20_000


def damage(data: bytes, draw: random.Random) -> bytes:
    """Damage bytes, as a disk, a connection or a stranger does."""
    size = len(data)
    at, length = draw.randrange(size + 1), 1 << draw.randrange(12)
    noise = draw.randbytes(length)
    match draw.randrange(9):
        case 0:
            return b""
        case 1:
            return data[:at]
        case 2:
            return data[:at] + bytes(len(data) - at)
        case 3:
            return data[:at] + data[at + length :]
        case 4:
            return data[:at] + noise + data[at:]
        case 5:
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case 6:
            word = draw.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)).to_bytes(4, "little")
            at = draw.choice((0, 4, at // 4 * 4, max(size - 8, 0)))
            return data[:at] + word + data[at + 4 :]
        case 7:
            return noise
        case _:
            flipped = bytearray(data)
            for _ in range(min(length, 64) if size else 0):
                flipped[draw.randrange(size)] ^= 1 << draw.randrange(8)
            return bytes(flipped)


def change(value: Any, draw: random.Random) -> Any:
    """Change one or a few places of a value of JSON."""
    root = [value]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        holder, at = draw.choice(_places(root))
        match draw.randrange(8):
            case 0 if isinstance(holder, dict):
                del holder[at]
            case 1 if isinstance(holder, dict):
                holder[draw.choice(("", "x", "__class__", "format", "id", "\ud800"))] = holder[at]
            case 2 if isinstance(holder, list) and holder is not root:
                holder[:] = draw.choice(([], holder[::-1], [*holder, *holder[-1:]]))
            case 3:
                holder[at] = [holder[at]]
            case 4:
                holder[at] = _near(holder[at], draw)
            case 5:
                other, place = draw.choice(_places(root))
                if not isinstance(other[place], dict | list):
                    holder[at] = other[place]
            case _:
                strange = draw.choice(_STRANGE)
                holder[at] = json.loads(json.dumps(strange))
    return root[0]


def _places(root: Any) -> list[tuple[Any, Any]]:
    found, todo = [], [root]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for at in keys:
            found.append((holder, at))
            if isinstance(holder[at], dict | list) and holder[at]:
                todo.append(holder[at])
    return found


def _near(value: Any, draw: random.Random) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice((-1, 1, -value - 1, 10**6, 10**12, 2**62))
    if isinstance(value, float):
        return value * draw.choice((-1, 0, 1e300))
    if isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        return value[:at] + draw.choice(("", "/", "..", "\0", "9", "x", "\n")) + value[at + 1 :]
    return value


def json_file(seal: Callable[[Any], bytes]) -> Mutation:
    """Return a mutation of a JSON file, which `seal` makes into a file again."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        kind = draw.randrange(12)
        if kind < 2:
            return damage(data, draw)
        if kind == 2:
            return (
                _nested(draw, b"[", b"]")
                if draw.random() < 0.5
                else _nested(draw, b'{"shards":', b"}")
            )
        return seal(change(json.loads(data), draw))

    return mutate


def _nested(draw: random.Random, start: bytes, stop: bytes) -> bytes:
    depth = draw.choice((300, 2000, _DEEP))
    return start * depth + draw.choice((b"", b"0" + stop * depth))


def _spelled(content: Any) -> bytes:
    return json.dumps(content).encode()


def _sealed(content: Any) -> bytes:
    """As manifests and checkpoints are spelled."""
    if isinstance(content, dict):
        content.pop("digest", None)
        content["digest"] = sha256_bytes(canonical_json(content))
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _locked(content: Any) -> bytes:
    """As locks are spelled."""
    from pipeline.sources.lock import lock_file

    if isinstance(content, dict):
        content.pop("digest", None)
        content["digest"] = sha256_bytes(canonical_json(content))
    return ("".join(lock_file._lines(content, "")) + "\n").encode()


def _or_plain(seal: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Spell what has no canonical form, such as NaN, without a digest."""

    def spell(content: Any) -> bytes:
        try:
            return seal(content)
        except Exception:
            return _spelled(content)

    return spell


plain_json, sealed_json, lock_json = (
    json_file(_or_plain(seal)) for seal in (_spelled, _sealed, _locked)
)


def record_log(data: bytes, draw: random.Random) -> bytes:
    """Mutate a record in a log of them, with its digest, or the log."""
    lines = data.split(b"\n")
    whole = [number for number, line in enumerate(lines) if line.count(b"\t") == 3]
    if not whole or draw.random() < 0.2:
        return damage(data, draw)
    number = draw.choice(whole)
    _, saved, name, record = lines[number].split(b"\t")
    rest = b"\t".join([saved, name, plain_json(record, draw)])
    lines[number] = sha256_bytes(rest).encode() + b"\t" + rest
    return b"\n".join(lines)


def yaml_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a file of YAML."""
    match draw.randrange(12):
        case 0 | 1:
            return damage(data, draw)
        case 2:
            depth = draw.choice((300, 2000, 100_000))
            return draw.choice((b"[", b"{", b"- ", b"? ", b"a: [")) * depth
        case 3:
            lines = data.split(b"\n")
            draw.shuffle(lines)
            return b"\n".join(lines)
        case 4:
            aliases = [b"a0: &a0 [x, x]"]
            aliases += [b"a%d: &a%d [*a%d, *a%d]" % (i, i, i - 1, i - 1) for i in range(1, 40)]
            return b"\n".join(aliases) + b"\n" + data
        case _:
            content = change(yaml.safe_load(data), draw)
            return yaml.safe_dump(content, allow_unicode=draw.random() < 0.5).encode(
                errors="surrogatepass"
            )


def lines_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a file of JSON lines."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    match draw.randrange(10):
        case 0 | 1 | 2:
            return damage(data, draw)
        case 3:
            lines[at] = b'{"id": "deep", "text": "x", "more": ' + _nested(draw, b"[", b"]") + b"}"
        case 4:
            lines[at] = draw.choice((b"null", b"[]", b"{}", b"0", b'"x"', b"\xff\xfe", b"\0" * 50))
        case 5:
            lines[at] = b'{"id": "long", "text": "' + b"x " * (1 << draw.randrange(18)) + b'"}'
        case 6:
            return b"[" + b",".join(line for line in lines if line) + b"]"
        case _:
            with contextlib.suppress(json.JSONDecodeError):
                lines[at] = _spelled(change(json.loads(lines[at]), draw))
    return b"\n".join(lines)


def packed(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes]) -> Mutation:
    """Return a mutation of a compressed file of JSON lines: of it, or of what is packed."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        if draw.random() < 0.4:
            return damage(data, draw)
        again = pack(lines_file(unpack(data), draw))
        return again + draw.choice((b"", b"", b"\0" * 100, again))

    return mutate


gzip_file = packed(gzip.decompress, gzip.compress)
zstd_file = packed(
    lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data), zstandard.compress
)


def slow_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a file of xz or bzip2."""
    kind = bz2 if data.startswith(b"BZh") else lzma
    return packed(kind.decompress, kind.compress)(data, draw)


def text_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a file of text."""
    return damage(data, draw)


def _column(table: pa.Table, draw: random.Random) -> pa.Array:
    """Return a column of strange values."""
    n = table.num_rows
    strange: list[Any] = [
        pa.nulls(n), pa.array([-1] * n, pa.int64()), pa.array([2**63] * n, pa.uint64()),
        pa.array(["x"] * n), pa.array([b"\xff"] * n), pa.array([[1]] * n),
        pa.array([{"a": 1}] * n), pa.array([None, *["y"] * (n - 1)][:n], pa.string()),
        pa.array([float("nan")] * n), pa.array([10**18 + 1] * n, pa.timestamp("ns")),
        pa.array([-(10**6)] * n, pa.date32()), pa.array([1] * n, pa.duration("ns")),
        pa.array([[2**40]] * n, pa.list_(pa.int64())), pa.array([[-1]] * n, pa.list_(pa.int32())),
        pa.array([None] * n, pa.list_(pa.uint16())),
        pa.array([10**30] * n, pa.decimal128(38, 0)),
        pa.array(["x"] * n).dictionary_encode(),
    ]  # fmt: skip
    return draw.choice(strange)


def parquet_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a parquet file: its bytes, its columns, its rows."""
    if draw.random() < 0.4:
        if draw.random() < 0.5:  # Where the footer is.
            at = max(len(data) - draw.randrange(8, 3000), 0)
            return data[:at] + damage(data[at:], draw)
        return damage(data, draw)
    table = pq.read_table(io.BytesIO(data))
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(table.num_columns) if table.num_columns else 0
        match draw.randrange(7):
            case 0 if table.num_columns:
                table = table.remove_column(at)
            case 1 if table.num_columns:
                name = draw.choice(("", "text", "id", "input_ids", "x", "document"))
                table = table.rename_columns(
                    [name if i == at else one for i, one in enumerate(table.column_names)]
                )
            case 2:
                table = table.slice(draw.randrange(table.num_rows + 1))
            case 3:
                rows = [draw.randrange(table.num_rows) for _ in range(table.num_rows)]
                table = table.take(rows) if rows else table
            case 4:
                table = table.replace_schema_metadata({b"x": draw.randbytes(20)})
            case _ if table.num_columns:
                table = table.set_column(at, table.column_names[at], _column(table, draw))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=draw.choice((None, 1, 7)))
    return sink.getvalue()


class _Stranger:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("a pickle ran",))


def torch_file(data: bytes, draw: random.Random) -> bytes:
    """Mutate a file of tensors: its bytes, or to tensors that are others, or to a pickle."""
    import torch

    match draw.randrange(6):
        case 0 | 1:
            return damage(data, draw)
        case 2:
            return pickle.dumps(draw.choice((_Stranger(), {}, [1], "x")))
        case 3:
            content: Any = draw.choice((_Stranger(), {}, [], 3, {"state": {}}, torch.zeros(3)))
        case _:
            content = torch.load(io.BytesIO(data), weights_only=True)
            holder, at = draw.choice(_places([content]))
            holder[at] = draw.choice((torch.zeros(2, 3), torch.zeros(0), None, -1, "x", {}, []))
    sink = io.BytesIO()
    torch.save(content, sink)
    return sink.getvalue()
