"""The picture of a flow of tokens: bands from sources to steps, each as wide as its tokens."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 900, 360
_NODE_WIDTH = 12
_GAP = 7
_LINE = 17
"""Least distance of two names below one another."""
_MOST_SOURCES = 12
_MOST_COLUMNS = 6


class Node(NamedTuple):
    """Where tokens are; a source may have the name of any other place."""

    name: str
    is_source: bool = False


class Flow(NamedTuple):
    start: Node
    end: Node
    num_tokens: int


@dataclass(kw_only=True, slots=True)
class _Box:
    """A node in the picture."""

    column: int = 0
    num_in: int = 0
    num_out: int = 0
    x: float = 0.0
    y: float = 0.0
    height: float = 0.0
    left: float = 0.0
    """Where the next band that ends here does, below `y`."""
    right: float = 0.0

    @property
    def num_tokens(self) -> int:
        return max(self.num_in, self.num_out)


def flow_picture(flows: Iterable[Flow]) -> dict[str, Any]:
    """Return boxes and bands, in units of the picture; of many sources the small ones are one.

    Places of the flow form no circle. Pure.
    """
    flows = _folded(list(flows))
    boxes: dict[Node, _Box] = {}
    for start, end, num_tokens in flows:
        boxes.setdefault(start, _Box()).num_out += num_tokens
        boxes.setdefault(end, _Box()).num_in += num_tokens
    scale, height = _place(flows, boxes)
    flows.sort(key=lambda flow: (boxes[flow.start].y, boxes[flow.end].y))
    last = max((box.column for box in boxes.values()), default=0)
    return {
        "width": _WIDTH,
        "height": round(height, 2),
        "bands": [_band(flow, boxes, scale) for flow in flows],
        "nodes": [
            {
                "name": node.name,
                "is_source": node.is_source,
                "is_last": box.column == last,
                "tokens": box.num_tokens,
                "x": round(box.x, 2),
                "y": round(box.y, 2),
                "width": _NODE_WIDTH,
                "height": round(box.height, 2),
            }
            for node, box in boxes.items()
        ],
    }


def _folded(flows: Sequence[Flow]) -> list[Flow]:
    """Return flows of the largest sources, and of all others as one."""
    sizes: dict[Node, int] = defaultdict(int)
    for flow in flows:
        if flow.start.is_source:
            sizes[flow.start] += flow.num_tokens
    small = sorted(sizes, key=lambda node: -sizes[node])[_MOST_SOURCES:]
    if len(small) == 1:
        small = []
    rest = dict.fromkeys(small, Node(f"{len(small):,} other sources", is_source=True))
    sums: dict[tuple[Node, Node], int] = defaultdict(int)
    for start, end, num_tokens in flows:
        sums[rest.get(start, start), end] += num_tokens
    return [Flow(*ends, num_tokens) for ends, num_tokens in sums.items() if num_tokens]


def _place(flows: Sequence[Flow], boxes: dict[Node, _Box]) -> tuple[float, float]:
    """Give each box its place; return how high a token is, and the height of the picture."""
    for _ in range(_MOST_COLUMNS):
        for start, end, _ in flows:
            boxes[end].column = max(boxes[end].column, boxes[start].column + 1)
    columns: dict[int, list[_Box]] = defaultdict(list)
    for box in boxes.values():
        columns[box.column].append(box)
    scale = min(
        (
            (_HEIGHT - _GAP * (len(column) - 1)) / sum(box.num_tokens for box in column)
            for column in columns.values()
        ),
        default=0.0,
    )
    height = 0.0
    for number, column in columns.items():
        top = 0.0
        for box in sorted(column, key=lambda box: -box.num_tokens):
            box.x = number * (_WIDTH - _NODE_WIDTH) / max(len(columns) - 1, 1)
            box.y, box.height = top, max(box.num_tokens * scale, 1.0)
            height = max(height, top + max(box.height, _LINE))
            top += max(box.height + _GAP, _LINE)
    return scale, height


def _band(flow: Flow, boxes: dict[Node, _Box], scale: float) -> dict[str, Any]:
    start, end = boxes[flow.start], boxes[flow.end]
    width = max(flow.num_tokens * scale, 0.75)
    y_start, y_end = start.y + start.right + width / 2, end.y + end.left + width / 2
    start.right += width
    end.left += width
    x_start, x_end = start.x + _NODE_WIDTH, end.x
    middle = (x_start + x_end) / 2
    return {
        "from": flow.start.name,
        "to": flow.end.name,
        "is_source": flow.start.is_source,
        "tokens": flow.num_tokens,
        "width": round(width, 2),
        "path": f"M{x_start:.1f},{y_start:.1f} C{middle:.1f},{y_start:.1f}"
        f" {middle:.1f},{y_end:.1f} {x_end:.1f},{y_end:.1f}",
    }
