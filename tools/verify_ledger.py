"""Check an output by docs/spec alone: `python tools/verify_ledger.py OUTPUT`."""

import argparse
import base64
import itertools
import json
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from hashlib import file_digest, sha256
from math import isqrt
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from blake3 import blake3

Values = dict[str, Any]
KEYS = {"code", "digest", "files", "format", "lock", "mixture", "order", "sources", "tokenizer"}


def same(what: str, got: Any, expected: Any) -> None:
    """Refuse a value that is not the expected one; 1.0 and true are not 1."""
    if isinstance(got, list) and isinstance(expected, list):
        got, expected = dict(enumerate(got, 1)), dict(enumerate(expected, 1))
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in sorted(got | expected):
            same(f"{what}: {key}", got.get(key, "nothing"), expected.get(key, "nothing"))
    elif type(got) is not type(expected) or got != expected:
        raise ValueError(f"{what}: got {got!r:.100}, expected {expected!r:.100}")


def read_manifest(path: Path) -> Values:
    """Read a manifest in its canonical form, without floats, and with the digest of itself."""
    same("manifest.json is a file", path.is_file(), True)  # Opening a FIFO would wait for ever.
    data = path.read_bytes()
    manifest: Values = json.loads(data, parse_float=str, parse_constant=str)
    same("format", manifest["format"], "ettin-manifest-v1")
    same("keys", manifest.keys() - {"evaluation"}, KEYS)
    same("canonical form", data, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    digest = manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    same("digest", sha256(text.encode()).hexdigest(), digest)
    return manifest


def check_files(out: Path, listed: Values, order: Values) -> None:
    """Compare all files but the manifest, hidden ones and links too, with the list of them."""
    found: Values = {}
    others = {"manifest.json"}
    if order.get("pool", {"folder": ""})["folder"] is None:
        others.add("order/pool.txt")
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if name not in others and (path.is_symlink() or not path.is_dir()):
            same(f"{name} is a file", path.is_file(), True)
            same(f"{name}: bytes", path.stat().st_size, listed.get(name, {}).get("bytes"))
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
                found[name] = {"bytes": file.tell(), "sha256": digest}
    same("files", found, listed)


def check_counts(sources: Values, order: Values, files: Values) -> None:
    """Check that what goes in comes out, for each source, each partition and the order."""
    for name, source in sources.items():
        partitions, budget, tokens = source["partitions"], source["budget"], source["tokens"]
        for place in (source, *partitions):
            seen, ids, named = place["documents"], place["tokens"], {*place.get("files", ())}
            same(f"{name}: files that are not listed", named - files.keys(), set())
            same(f"{name}: documents", seen["in"], seen["kept"] + sum(seen["dropped"].values()))
            same(f"{name}: tokens", ids["in"] + ids["added"], ids["written"] + ids["discarded"])
        for group in ("chunks", "tokens"):
            sums = {key: sum(part[group][key] for part in partitions) for key in source[group]}
            same(f"{name}: {group} of its partitions", sums, source[group])
        made = {"available": tokens["written"] - tokens["validation"], "drawn": tokens["drawn"]}
        made["asked"] = tokens["drawn"] - budget["overshoot"]
        same(f"{name}: budget", budget, budget | made)
    if sources:
        spent = sum(order[f"num_tokens{key}"] for key in ("", "_dropped", "_cut"))
        used = {"chunks": order["num_samples"], "tokens": spent - order["num_tokens_added"]}
        drawn = {group: sum(of[group]["drawn"] for of in sources.values()) for group in used}
        same("drawn for the order", used, drawn)


def read_mds(path: Path, of: Values) -> Iterator[tuple[None, list[int]]]:
    """Yield the ids of each row of a shard with columns `id` and `input_ids`."""
    data = path.read_bytes()
    rows, *ends = struct.unpack_from(f"<{of['samples'] + 2}I", data)
    got = [of["samples"], of["raw_data"]["bytes"], ends[-1], of["column_names"], of["column_sizes"]]
    same(f"index.json: {path}", got, [rows, end := len(data), end, ["id", "input_ids"], [None] * 2])
    kind = {"str ndarray:uint32": "I", "str ndarray:uint16": "H"}[" ".join(of["column_encodings"])]
    for start, stop in itertools.pairwise(ends):
        id_bytes, size = struct.unpack_from("<II", data, start)
        array = start + 8 + id_bytes
        same(f"{path.name}: end of a row", array + size, stop)
        first = array + 1 + (1 << data[array] - 4)  # One dimension: 4, plus the width's code.
        length = int.from_bytes(data[array + 1 : first], "little")
        yield None, list(struct.unpack(f"<{length}{kind}", data[first:stop]))


def read_parquet(path: Path) -> Iterator[tuple[int, list[int]]]:
    """Yield of each row its step in the window, and its ids."""
    for batch in pq.ParquetFile(path).iter_batches(1024, columns=["input_ids", "step"]):
        for ids, step in zip(batch["input_ids"], batch["step"].to_pylist(), strict=True):
            yield step.__index__(), ids.as_py()


def read_rows(out: Path, files: Values, form: str) -> Iterator[tuple[str, int | None, bytes]]:
    """Yield of all rows in order the file, the step where one is written, and what is hashed."""
    names = {name for name in files if name.startswith("order/")} - {"order/steps.parquet"}
    entries: Values = dict.fromkeys(sorted(names))
    if {"mds": True, "parquet": False}[form]:
        shards = json.loads((out / "order/index.json").read_bytes())["shards"]
        listed = [f"order/{shard['raw_data']['basename']}" for shard in shards]
        same("index.json", sorted(listed), [name for name in entries if name.endswith(".mds")])
        entries = dict(zip(listed, shards, strict=True))
    for name, entry in entries.items():
        for step, ids in read_mds(out / name, entry) if entry else read_parquet(out / name):
            yield name, step, struct.pack(f"<{1 + len(ids)}I", len(ids), *ids)


def read_pool(
    out: Path, order: Values, longest: int, tokenizer: Values
) -> Iterator[tuple[str, None, bytes]]:
    """Yield the same of rows that lie in a pool alone, all of which is held in memory."""
    pool, place = order["pool"], out / "order/pool.txt"
    folder = out / (pool["folder"] or place.read_text().removesuffix("\n"))
    index = (folder / "index.json").read_bytes()
    shards = [(folder / one["raw_data"]["basename"], one) for one in json.loads(index)["shards"]]
    made = {"folder": pool["folder"], "index_sha256": sha256(index).hexdigest()}
    same("pool", made | {"bytes": sum(path.stat().st_size for path, _ in shards)}, pool)
    stored = [ids for path, shard in shards for _, ids in read_mds(path, shard)]
    same("samples of the pool", len(stored), order["num_samples"])
    numbers = permutation(out, order)
    for window in order["windows"]:
        for number in itertools.islice(numbers, window["num_rows"]):
            ids = viewed(stored[number], order["view"], longest, tokenizer)
            yield window["folder"], None, struct.pack(f"<{1 + len(ids)}I", len(ids), *ids)


def viewed(ids: list[int], view: str, longest: int, tokenizer: Values) -> list[int]:
    """Return a stored row under a view."""
    cls_id, sep_id = tokenizer["cls_id"], tokenizer["sep_id"]
    if view == "stored":
        return ids
    has_cls = cls_id < 0 or ids[0] == cls_id
    cut = (ids if has_cls else [cls_id, *ids])[:longest]
    if {"decoder": True, "encoder": False}[view]:
        return cut
    return [*cut[:-1], sep_id] if len(cut) == longest or ids[-1] == sep_id else [*cut, sep_id]


def permutation(out: Path, order: Values) -> Iterator[int]:
    """Yield the sample at each position."""
    size, seed, epoch = order["num_samples"], order["seed"], order["epoch"]
    if {"ettin-pcg64dxsm-v1": True, "feistel-v1": False}[order["algorithm"]]:
        data = (out / f"order/ettin-pcg64dxsm-v1-{size}-{seed + epoch}.npy").read_bytes()
        start = 10 + int.from_bytes(data[8:10], "little")
        same("bytes of the permutation", len(data), start + 8 * size)
        yield from struct.unpack_from(f"<{size}I", data, start)
        return
    texts = [str(seed), "order", "feistel-v1", str(epoch), str(size)]
    hashed = sha256(b"".join(struct.pack("<Q", len(text)) + text.encode() for text in texts))
    key = int.from_bytes(hashed.digest()[:8], "little")
    keys = [mixed(key + i * 0x9E3779B97F4A7C15) for i in range(1, 13)]
    side = next(side for side in itertools.count(isqrt(max(size, 4) - 1) + 1) if side % 2 == 0)
    for cell in range(size):
        while True:
            row, column = divmod(cell, side)
            for one in keys:
                row, column = column, (row + (((mixed(column ^ one) >> 24) * side) >> 40)) % side
            cell = row * side + column
            if cell < size:
                break
        yield cell


def mixed(number: int) -> int:
    """Return the last part of SplitMix64."""
    number %= 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def check_steps(out: Path, manifest: Values) -> Iterator[bytes]:
    """Make steps and windows of the rows, compare them, and yield the digest of each row."""
    order, declared = manifest["order"], manifest["mixture"]["declaration"]
    size, is_small = declared["order"]["global_batch_size"], Fraction(declared.get("scale", 1)) < 1
    batch = min(size, max(order["num_samples"], 1)) if is_small else size
    steps, windows = [], []
    rows = read_rows(out, manifest["files"], order["format"])
    if "pool" in order:
        rows = read_pool(out, order, declared["order"]["max_seq_len"], manifest["tokenizer"])
    for folder, window in itertools.groupby(rows, lambda row: "/".join(row[0].split("/")[:2])):
        first, multiset = len(steps), 0
        while taken := list(itertools.islice(window, batch)):
            number, data = len(steps) + 1, b"".join(row for _, _, row in taken)
            same(f"step {number}: rows", len(taken), batch)
            others = {step for _, step, _ in taken} - {None, number - first}
            same(f"step {number}: other values in column step", others, set())
            steps.append({"step": number, "start_row": number * batch - batch, "num_rows": batch})
            steps[-1] |= {"num_tokens": len(data) // 4 - batch, "sha256": sha256(data).hexdigest()}
            for _, _, row in taken:
                digest = blake3(row).digest()
                multiset += int.from_bytes(digest, "little")
                yield digest
        made = {"folder": folder, "first_step": first, "first_row": first * batch}
        made |= {"num_steps": len(steps) - first, "num_rows": (len(steps) - first) * batch}
        made["num_tokens"] = sum(step["num_tokens"] for step in steps[first:])
        windows.append(made | {"multiset_root": (multiset % 2**256).to_bytes(32, "little").hex()})
    table = pq.ParquetFile(out / "order/steps.parquet")
    shape = [table.metadata.num_rows, *map(str, table.schema_arrow.types)]
    same("rows and types of steps", shape, [len(steps), *["int64"] * 4, "string"])
    same("steps", table.read().to_pylist(), steps)
    same("windows", order["windows"], windows)
    num_rows, dropped = len(steps) * batch, order["num_samples"] % batch
    made = {"num_steps": len(steps), "num_rows": num_rows, "num_samples": num_rows + dropped}
    made |= {"num_rows_dropped": dropped, "num_tokens": sum(step["num_tokens"] for step in steps)}
    digests = b"".join(bytes.fromhex(step["sha256"]) for step in steps)
    same("order", order, order | made | {"root_sha256": sha256(digests).hexdigest()})
    same("types", {type(order[key]) for key in order if key.startswith("num_")}, {int})


def check_ledger(digests: Iterator[bytes], order: Values) -> None:
    """Make the ledger of the digests of rows, and compare it."""

    def derive(what: str, data: bytes) -> bytes:
        return blake3(data, derive_key_context=f"ettin-data ledger-v1 {what}").digest()

    blocks = iter(lambda: b"".join(itertools.islice(digests, 1024)), b"")
    level = nodes = [derive("node", block) for block in blocks]
    while len(level) > 1:
        pairs = [b"".join(level[i : i + 2]) for i in range(0, len(level), 2)]
        level = [derive("parent", pair) if len(pair) > 32 else pair for pair in pairs]
    root = derive("sequence", struct.pack("<Q", order["num_rows"]) + b"".join(level))
    roots = [bytes.fromhex(window["multiset_root"]) for window in order["windows"]]
    multiset = sum(int.from_bytes(root, "little") for root in roots) % 2**256
    made = {"algorithm": "ledger-v1", "num_rows": order["num_rows"], "sequence_root": root.hex()}
    made["multiset_root"] = multiset.to_bytes(32, "little").hex()
    made["nodes"] = base64.b64encode(b"".join(nodes)).decode()
    same("ledger", order["ledger"], made)


def verify(out: Path, label: str = "") -> bool:
    """Print a line for each check of an output and of its holdout; return whether all is right."""
    manifest: Values = {}
    checks: dict[str, Callable[[], None]] = {
        "manifest": lambda: manifest.update(read_manifest(out / "manifest.json")),
        "files": lambda: check_files(out, manifest["files"], manifest["order"]),
        "counts": lambda: check_counts(manifest["sources"], manifest["order"], manifest["files"]),
        "order": lambda: check_ledger(check_steps(out, manifest), manifest["order"]),
    }
    for what, check in checks.items():
        try:
            check()
        except Exception as error:
            print(f"WRONG {label}{what}: {error!a:.300}")
            return False
        print(f"ok    {label}{what}")
    has_holdout = "validation/manifest.json" in manifest["files"]
    return not has_holdout or verify(out / "validation", f"{label}validation: ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    raise SystemExit(not verify(parser.parse_args().output))
