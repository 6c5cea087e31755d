"""The position of a feed, as JSON values for a checkpoint: independent of ranks and workers."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import InputError, MismatchError

FORMAT = "ettin-feed-v1"
_KEYS = {"format", "row", "num_rows", "order"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


def describe_position(row: int, num_rows: int, order: str) -> dict[str, Any]:
    """Return the state of a feed at `row` of an order with this digest, 64 hex digits."""
    return {"format": FORMAT, "row": row, "num_rows": num_rows, "order": order}


def row_of_position(state: object, num_rows: int, order: str, where: str) -> int:
    """Return the row at which a state resumes.

    num_rows, order: rows and digest of the order to feed; where: its name in errors.

    Raises: InputError for a malformed state; MismatchError for the state of another order.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"state: got {type(state).__name__}, expected what state_dict returned")
    if state.get("format") != FORMAT:
        raise InputError(
            f"state: got the format {state.get('format')!r}, expected {FORMAT!r}",
            "give back what state_dict of a feed returned",
        )
    if set(state) != _KEYS:
        raise InputError(
            f"state: got the keys {', '.join(sorted(map(str, state)))}, expected"
            f" {', '.join(sorted(_KEYS))}"
        )
    # To Python a bool is an int.
    for key in ("row", "num_rows"):
        if type(state[key]) is not int or state[key] < 0:
            raise InputError(f"state: {key}: got {state[key]!r}, expected a number from 0")
    if not isinstance(state["order"], str) or not _DIGEST.fullmatch(state["order"]):
        raise InputError(f"state: order: got {state['order']!r}, expected 64 hex digits")
    row: int = state["row"]
    if row > state["num_rows"]:
        raise InputError(
            f"state: row: got {row:,}, expected at most {state['num_rows']:,}, the rows it names"
        )
    if state["order"] != order or state["num_rows"] != num_rows:
        raise MismatchError(
            f"{where}: is order {order} of {num_rows:,} rows, and the state is of order"
            f" {state['order']} of {state['num_rows']:,} rows",
            "resume with the order that the state belongs to, or start at a row with seek_row",
        )
    return row
