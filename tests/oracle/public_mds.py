"""The public MDS package as a servant, run by the interpreter that `setup.sh` makes.

Enters on stdin: one JSON object a line: `{"do": "write" | "read" | "get_items", ...}`. Leaves on
stdout: one JSON object a line with the seconds that the public package itself took. Rows travel in
`.npz` files: `ids` [num_ids], `offsets` [num_rows + 1], `names` str [num_rows].
"""

import json
import sys
import time
import warnings

import numpy as np

with warnings.catch_warnings(action="ignore"):
    from streaming import MDSWriter, StreamingDataset
    from streaming.base.format import reader_from_json


def main() -> None:
    """Serve until stdin ends."""
    served = {"write": write, "read": read, "get_items": get_items}
    for line in sys.stdin:
        request = json.loads(line)
        answer = served[request.pop("do")](**request)
        print(json.dumps(answer), flush=True)


def write(rows: str, folder: str, dtype: str, size_limit: int) -> dict[str, float]:
    """Write rows with the public writer."""
    loaded = np.load(rows)
    parts = np.split(loaded["ids"].astype(dtype), loaded["offsets"][1:-1])
    samples = [
        {"id": name, "input_ids": part}
        for name, part in zip(loaded["names"].tolist(), parts, strict=True)
    ]
    columns = {"id": "str", "input_ids": f"ndarray:{dtype}"}
    started = time.perf_counter()
    with MDSWriter(columns=columns, out=folder, size_limit=size_limit) as writer:
        for sample in samples:
            writer.write(sample)
    return {"seconds": time.perf_counter() - started}


def read(folder: str, rows: str) -> dict[str, float]:
    """Read a folder with the public dataset, in order, and save its rows."""
    started = time.perf_counter()
    dataset = StreamingDataset(local=folder, shuffle=False, batch_size=1)
    samples = [dataset[index] for index in range(len(dataset))]
    seconds = time.perf_counter() - started
    _save(rows, samples)
    return {"seconds": seconds}


def get_items(folder: str, order: str) -> dict[str, float]:
    """Read the rows of a folder in a given order with the readers of its raw shards."""
    with open(f"{folder}/index.json") as file:
        shards = json.load(file)["shards"]
    ends = np.cumsum([shard["samples"] for shard in shards])
    rows = np.load(order)
    owners = np.searchsorted(ends, rows, side="right")
    locals_ = rows - np.concatenate([[0], ends])[owners]
    where = list(zip(owners.tolist(), locals_.tolist(), strict=True))
    started = time.perf_counter()
    readers = [reader_from_json(folder, "", shard) for shard in shards]
    num_ids = 0
    for owner, row in where:
        num_ids += len(readers[owner].get_item(row)["input_ids"])
    return {"seconds": time.perf_counter() - started, "num_ids": num_ids}


def _save(path: str, samples: list[dict[str, object]]) -> None:
    arrays = [np.asarray(sample["input_ids"]) for sample in samples]
    np.savez(
        path,
        ids=np.concatenate(arrays),
        offsets=np.cumsum([0, *(len(array) for array in arrays)]),
        names=np.array([sample["id"] for sample in samples]),
    )


if __name__ == "__main__":
    main()
