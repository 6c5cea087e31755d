"""What the examples share: options, reading rows, and one line about what was learned."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def options(
    about: str, data: str, batch_size: int, learning_rate: float
) -> argparse.ArgumentParser:
    """Return the options of an example; `data` is the file in `examples/data` that it reads."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = Path(__file__).parent / "data" / data
    parser.add_argument("model", help="folder of an export, or the name of a model on the Hub")
    parser.add_argument("--out", required=True, help="folder for the model that is trained")
    parser.add_argument(
        "--data",
        default=str(shipped),
        help="FILE.jsonl, or ORG/NAME[:CONFIG] of a data set on the Hub",
    )
    parser.add_argument("--epochs", type=float, default=1, help="times to go through the data")
    parser.add_argument(
        "--max-steps", type=int, default=-1, help="stop after so many, whatever --epochs"
    )
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    return parser


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Name the extra to install where an import in this block finds no library."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(
            f"{sys.argv[0]}: got no library {error.name!r}, expected those of the extra {extra!r}\n"
            f"hint: pip install 'ettin-data[{extra}]'"
        )


def parsed(parser: argparse.ArgumentParser, head: str = "") -> argparse.Namespace:
    """Return the options, once the model and the folder to write to are known to be such.

    head: how the name of the model's class must end, where a trainer takes no other.
    """
    # Ctrl-C ends an example without a traceback.
    sys.excepthook = lambda kind, *rest: (
        None if issubclass(kind, KeyboardInterrupt) else sys.__excepthook__(kind, *rest)
    )
    args = parser.parse_args()
    if Path(args.model).exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", args.model):
        _check_model(Path(args.model), head)
    out = Path(args.out)
    if any(one.is_file() for one in (out, *out.parents)):
        sys.exit(f"{out}: got a file there, expected a folder to write to")
    return args


def _check_model(folder: Path, head: str) -> None:
    try:
        classes = json.loads((folder / "config.json").read_bytes()).get("architectures") or [""]
    except (OSError, ValueError, AttributeError):
        sys.exit(f"{folder}: got no model, expected a folder that `ettin-data export` wrote")
    if not any(one.endswith(head) for one in classes):
        sys.exit(f"{folder}: got {', '.join(classes)}, expected a class that ends in {head}")


def read_rows(data: str, *fields: str, optional: str = "") -> Any:
    """Return the rows of `data` with these fields alone, and an optional one where they have it."""
    from datasets import Dataset, load_dataset

    if data.endswith(".jsonl") or Path(data).is_file():
        return Dataset.from_list(_read_lines(data, fields, optional))
    name, _, config = data.partition(":")
    rows = load_dataset(name, config or None, split="train")
    _check(data, rows.column_names, fields)
    kept = [*fields, optional] if optional in rows.column_names else list(fields)
    return rows.select_columns(kept)


def _read_lines(path: str, fields: tuple[str, ...], optional: str) -> list[dict[str, Any]]:
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path}: got {error}, expected JSON lines with {', '.join(fields)}")
    rows = {f"{path}:{n}": _row(f"{path}:{n}", line) for n, line in enumerate(lines, 1) if line}
    if not rows:
        sys.exit(f"{path}: got no rows, expected JSON lines with {', '.join(fields)}")
    if any(optional in row for row in rows.values()):
        fields = (*fields, optional)
    # Labels are all words or all numbers.
    has_numbers = isinstance(next(iter(rows.values())).get("label"), int)
    for where, row in rows.items():
        _check(where, list(row), fields)
        for name in fields:
            kind = int if name == "label" and has_numbers else str
            if not isinstance(row[name], kind):
                wanted = "text" if kind is str else "a whole number, as in the first row"
                sys.exit(f"{where}: {name}: got {row[name]!r}, expected {wanted}")
    return [{name: row[name] for name in fields} for row in rows.values()]


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        sys.exit(f"{where}: got {line[:40]!r}, expected a JSON object")
    return row


def _check(where: str, got: list[str], fields: tuple[str, ...]) -> None:
    if not set(fields) <= set(got):
        found = f"the fields {', '.join(got)}" if got else "no fields"
        sys.exit(f"{where}: got {found}, expected {', '.join(fields)}")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that every trainer gets: bf16 where a GPU has it."""
    import torch

    has_gpu = torch.cuda.is_available()
    return {
        "output_dir": args.out,
        "num_train_epochs": args.epochs,
        "max_steps": args.max_steps,
        "per_device_train_batch_size": args.batch_size,
        "per_device_eval_batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "warmup_steps": 0.05,
        "bf16": has_gpu and torch.cuda.is_bf16_supported(),
        "dataloader_pin_memory": has_gpu,
        "save_strategy": "no",
        "report_to": "none",
    }


def some(rows: Any) -> Any:
    """Return the first rows, enough to see whether something was learned."""
    return rows.select(range(min(len(rows), 1000)))


def fine_tune(trainer: Any, measure: str = "loss", of: str = "rows that it trained on") -> None:
    """Train, save, and print what the trainer measures on its evaluation rows before and after."""
    before = trainer.evaluate()[f"eval_{measure}"]
    trainer.train()
    after = trainer.evaluate()[f"eval_{measure}"]
    trainer.save_model()
    num_rows = len(trainer.eval_dataset)
    print(f"{trainer.args.output_dir}: {measure} {before:.3f} -> {after:.3f} on {num_rows} {of}")
