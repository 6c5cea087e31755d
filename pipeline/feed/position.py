"""Position: where a feed stands, as a value that is kept in a checkpoint.

Enters: a row and the order that it is of. Leaves: a small dict for JSON, and a row from such a
dict. It is the same from every rank, and says nothing of ranks, micro-batches or workers, so that
all of them may change before it is read again.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import InputError, MismatchError

FORMAT = "ettin-feed-v1"
_KEYS = {"format", "row", "num_rows", "order"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


def describe_position(row: int, num_rows: int, order: str) -> dict[str, Any]:
    """Return the state of a feed that goes on with `row`.

    num_rows: rows of the order; order: its digest, 64 hex digits.
    """
    return {"format": FORMAT, "row": row, "num_rows": num_rows, "order": order}


def row_of_position(state: object, num_rows: int, order: str, where: str) -> int:
    """Return the row that a state says to go on with.

    num_rows, order: of the order that is to be fed; where: how it is called in errors.

    Raises: InputError for what is no state, or a damaged one; MismatchError for one of another
    order.
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
