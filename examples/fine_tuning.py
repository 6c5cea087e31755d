"""What the examples share: options, reading rows, and one line about what was learned."""

import argparse
import json
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


def read_rows(data: str, *fields: str, optional: str = "") -> Any:
    """Return the rows of `data` with these fields alone, and an optional one where they have it."""
    from datasets import Dataset, load_dataset

    if data.endswith(".jsonl"):
        rows = Dataset.from_list(list(_read_lines(data, fields)))
    else:
        name, _, config = data.partition(":")
        rows = load_dataset(name, config or None, split="train")
        _check(data, rows.column_names, fields)
    kept = [*fields, optional] if optional in rows.column_names else list(fields)
    return rows.select_columns(kept)


def _read_lines(path: str, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    text = Path(path).read_text("utf-8") if Path(path).is_file() else None
    if not text:
        got = "no such file" if text is None else "no rows"
        sys.exit(f"{path}: got {got}, expected JSON lines with {', '.join(fields)}")
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        try:
            row = dict(json.loads(line))
        except (TypeError, ValueError):
            sys.exit(f"{path}:{number}: got {line[:40]!r}, expected a JSON object")
        _check(f"{path}:{number}", list(row), fields)
        yield row


def _check(where: str, got: list[str], fields: tuple[str, ...]) -> None:
    if not set(fields) <= set(got):
        found = f"the fields {', '.join(got)}" if got else "no fields"
        sys.exit(f"{where}: got {found}, expected {', '.join(fields)}")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what every trainer is told: bf16 where a GPU has it, and to save at the end."""
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
