"""Check an output of `ettin-data build` or `order` by docs/spec alone: a second opinion.

`python tools/verify_ledger.py OUTPUT` prints a line for each check; it exits with 1 if one fails.
It needs pyarrow and blake3, and shares no code with the package.
"""

import base64
import hashlib
import itertools
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from blake3 import blake3

NODE_ROWS = 1024
KEYS = {"code", "digest", "files", "format", "lock", "mixture", "order", "sources", "tokenizer"}
Values = dict[str, Any]


def same(what: str, got: object, expected: object) -> None:
    """Refuse a value that is not the expected one."""
    if type(got) is not type(expected) or got != expected:
        raise ValueError(f"{what}: got {got!r:.100}, expected {expected!r:.100}")


def read_manifest(path: Path) -> Values:
    """Read a manifest in its canonical form, with the digest of itself."""
    data = path.read_bytes()
    manifest: Values = json.loads(data)
    same("format", manifest["format"], "ettin-manifest-v1")
    same("keys", sorted(manifest.keys() - {"evaluation"}), sorted(KEYS))
    written = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    same("canonical form", data == written.encode(), True)
    digest = manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    same("digest", digest, hashlib.sha256(text.encode()).hexdigest())
    return manifest


def check_files(out: Path, listed: Values) -> None:
    """Compare sizes and sha256 of all files; there is no other, hidden or link."""
    paths = [path for path in out.rglob("*") if not path.is_dir() or path.is_symlink()]
    found = {path.relative_to(out).as_posix() for path in paths} - {"manifest.json"}
    for path in sorted(found ^ set(listed)):
        raise ValueError(f"{path}: {'missing' if path in listed else 'not in the manifest'}")
    for path, expected in sorted(listed.items()):
        same(f"{path}: bytes", (out / path).stat().st_size, expected["bytes"])
        with (out / path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        same(f"{path}: sha256", digest, expected["sha256"])


def check_counts(sources: Values, order: Values) -> None:
    """Check that what goes in comes out, for each source, each partition and the order."""
    for name, source in sources.items():
        for one in (source, *source["partitions"]):
            seen, tokens = one["documents"], one["tokens"]
            same(f"{name}: documents", seen["in"], seen["kept"] + sum(seen["dropped"].values()))
            left = tokens["written"] + tokens["discarded"] - tokens["added"]
            same(f"{name}: tokens.in", tokens["in"], left)
        for group, key in itertools.product(("chunks", "tokens"), ("written", "drawn")):
            parts = sum(part[group][key] for part in source["partitions"])
            same(f"{name}: {group}.{key}", source[group][key], parts)
        if budget := source.get("budget"):
            left = source["tokens"]["written"] - source["tokens"]["validation"]
            same(f"{name}: budget.available", budget["available"], left)
            same(f"{name}: budget", budget["drawn"], budget["asked"] + budget["overshoot"])
    spent = sum(order[f"num_tokens{key}"] for key in ("", "_dropped", "_cut"))
    drawn = sum(source["tokens"]["drawn"] for source in sources.values())
    same("order: tokens", spent, drawn + order["num_tokens_added"] if sources else spent)
    same("order: rows", order["num_samples"], order["num_rows"] + order["num_rows_dropped"])


def derive(what: str, data: bytes) -> bytes:
    """BLAKE3's derive_key under the context of the ledger."""
    return blake3(data, derive_key_context=f"ettin-data ledger-v1 {what}").digest()


def check_tree(ledger: Values, num_rows: int) -> list[bytes]:
    """Return the nodes of a ledger, whose sequence root follows from them."""
    same("algorithm", ledger["algorithm"], "ledger-v1")
    same("num_rows", ledger["num_rows"], num_rows)
    data = base64.b64decode(ledger["nodes"], validate=True)
    same("bytes of nodes", len(data), 32 * -(-num_rows // NODE_ROWS))
    level = nodes = [data[i : i + 32] for i in range(0, len(data), 32)]
    while len(level) > 1:
        pairs = [b"".join(level[i : i + 2]) for i in range(0, len(level), 2)]
        level = [derive("parent", pair) if len(pair) > 32 else pair for pair in pairs]
    root = derive("sequence", struct.pack("<Q", num_rows) + b"".join(level))
    same("sequence_root", ledger["sequence_root"], root.hex())
    return nodes


def check_steps(out: Path, order: Values) -> list[Values]:
    """Return the table of steps, which has every row of the order once."""
    steps: list[Values] = pq.ParquetFile(out / "order/steps.parquet").read().to_pylist()
    same("num_steps", len(steps), order["num_steps"])
    row = 0
    for number, step in enumerate(steps, 1):
        same("step", step["step"], number)
        same(f"step {number}: start_row", step["start_row"], row)
        row += step["num_rows"]
    same("num_rows", row, order["num_rows"])
    same("num_tokens", sum(step["num_tokens"] for step in steps), order["num_tokens"])
    root = hashlib.sha256(b"".join(bytes.fromhex(step["sha256"]) for step in steps))
    same("root_sha256", root.hexdigest(), order["root_sha256"])
    return steps


def read_mds(path: Path) -> Iterator[bytes]:
    """Yield the ids of each row of a shard with columns `id` and `input_ids`, as uint32."""
    data = path.read_bytes()
    (num_rows,) = struct.unpack_from("<I", data)
    ends = struct.unpack_from(f"<{num_rows + 1}I", data, 4)
    config, _ = json.JSONDecoder().raw_decode(data[8 + 4 * num_rows : ends[0]].decode())
    kind = {"ndarray:uint32": "I", "ndarray:uint16": "H"}[config["column_encodings"][1]]
    for start, stop in itertools.pairwise(ends):
        id_bytes, size = struct.unpack_from("<II", data, start)
        array = start + 8 + id_bytes
        same(f"{path.name}: end of a row", array + size, stop)
        first = array + 1 + (1 << data[array] - 4)  # One dimension: 4, plus the width's code.
        length = int.from_bytes(data[array + 1 : first], "little")
        yield struct.pack(f"<{length}I", *struct.unpack(f"<{length}{kind}", data[first:stop]))


def read_rows(out: Path, order: Values, folder: str) -> Iterator[tuple[int | None, bytes]]:
    """Yield of all rows of a window the step in it, where it is written, and the ids as uint32."""
    if order["format"] == "mds":
        for shard in json.loads((out / "order/index.json").read_bytes())["shards"]:
            path = out / "order" / shard["raw_data"]["basename"]
            if path.is_relative_to(out / folder):
                yield from ((None, ids) for ids in read_mds(path))
        return
    for path in sorted((out / folder).glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["input_ids", "step"]):
            for ids, step in zip(batch["input_ids"], batch["step"].to_pylist(), strict=True):
                yield step, struct.pack(f"<{len(ids)}I", *ids.as_py())


def check_rows(out: Path, order: Values, steps: list[Values], nodes: list[bytes]) -> None:
    """Hash all rows: digests of steps, nodes, multisets of windows and of the order."""
    digests: list[bytes] = []
    first = total = 0
    for window in order["windows"]:
        name, start, rows = window["folder"], len(digests), read_rows(out, order, window["folder"])
        same(f"{name}: first_step", window["first_step"], first)
        mine = steps[first : first + window["num_steps"]]
        for step in mine:
            what, data, num_tokens = f"step {step['step']}", hashlib.sha256(), 0
            for number, ids in itertools.islice(rows, step["num_rows"]):
                if number is not None:
                    same(f"{what}: column step", number, step["step"] - first)
                row = struct.pack("<I", len(ids) // 4) + ids
                data.update(row)
                digests.append(blake3(row).digest())
                num_tokens += len(ids) // 4
            same(f"{what}: sha256", data.hexdigest(), step["sha256"])
            same(f"{what}: num_tokens", num_tokens, step["num_tokens"])
        same(f"{name}: rows beyond its steps", next(rows, None), None)
        first += window["num_steps"]
        multiset = sum(int.from_bytes(one, "little") for one in digests[start:])
        total += multiset
        sums: Values = {key: sum(step[key] for step in mine) for key in ("num_rows", "num_tokens")}
        sums |= {
            "first_row": start,
            "multiset_root": (multiset % 2**256).to_bytes(32, "little").hex(),
        }
        for key, value in sums.items():
            same(f"{name}: {key}", window[key], value)
    for i, node in enumerate(nodes):
        rows_of_node = b"".join(digests[i * NODE_ROWS : (i + 1) * NODE_ROWS])
        same(f"node {i}", derive("node", rows_of_node).hex(), node.hex())
    root = (total % 2**256).to_bytes(32, "little").hex()
    same("multiset_root", order["ledger"]["multiset_root"], root)
    same("num_rows", len(digests), order["num_rows"])


def verify(out: Path, label: str = "") -> bool:
    """Print a line for each check of an output and its holdout; return whether all is right."""
    failed = []

    def check(what: str, run: Callable[..., Any], *values: Any) -> Any:
        try:
            result, line = run(*values), f"ok    {label}{what}"
        except Exception as error:
            result, text = None, " ".join(f"{error}".split()) or type(error).__name__
            line = f"WRONG {label}{what}: {text:.300}"
            failed.append(what)
        print(ascii(line)[1:-1])
        return result

    manifest = check("manifest", read_manifest, out / "manifest.json")
    if manifest is None:
        return False
    order = manifest["order"]
    check("files", check_files, out, manifest["files"])
    check("counts", check_counts, manifest["sources"], order)
    nodes = check("ledger", check_tree, order["ledger"], order["num_rows"])
    steps = check("steps", check_steps, out, order)
    if nodes is not None and steps is not None:
        check("rows", check_rows, out, order, steps, nodes)
    if (out / "validation/manifest.json").is_file():
        return verify(out / "validation", f"{label}validation: ") and not failed
    return not failed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/verify_ledger.py OUTPUT")
    sys.exit(not verify(Path(sys.argv[1])))
