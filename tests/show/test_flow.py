"""The picture of a flow: bands as wide as their tokens, inside their boxes, none lost."""

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.show.flow import Flow, Node, flow_picture

DRAWN, STEPS = Node("drawn"), Node("steps")
SIZES = st.lists(st.integers(1, 10**12), min_size=1, max_size=30)


def flows_of(sizes: list[int]) -> list[Flow]:
    # Sources may have the names of other places.
    names = ["drawn", "steps", "unused", *map(str, range(30))]
    flows = []
    for name, size in zip(names, sizes, strict=False):
        source = Node(name, is_source=True)
        flows += [Flow(source, DRAWN, size), Flow(source, Node("unused"), size // 3)]
    return [*flows, Flow(DRAWN, STEPS, sum(sizes))]


@QUICK
@given(SIZES)
def test_bands_lie_in_their_boxes_and_hold_every_token(sizes: list[int]) -> None:
    flows = flows_of(sizes)
    picture = flow_picture(flows)
    assert sum(band["tokens"] for band in picture["bands"]) == sum(one.num_tokens for one in flows)
    boxes = {(node["name"], node["is_source"]): node for node in picture["nodes"]}
    assert len(boxes) == len(picture["nodes"]) <= 12 + 1 + 3
    starts, ends = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for band in picture["bands"]:
        start, end = boxes[band["from"], band["is_source"]], boxes[band["to"], False]
        starts[band["from"], band["is_source"]] += band["tokens"]
        ends[band["to"], False] += band["tokens"]
        x, y, *_, x_end, y_end = map(float, re.findall(r"[\d.]+", band["path"]))
        assert abs(x - start["x"] - start["width"]) < 0.1
        assert abs(x_end - end["x"]) < 0.1
        for middle, box in ((y, start), (y_end, end)):
            # Bands that would be too thin to see are drawn wider.
            slack = 0.75 * len(picture["bands"]) + 0.2
            assert box["y"] - 0.2 <= middle - band["width"] / 2
            assert middle + band["width"] / 2 <= box["y"] + box["height"] + slack
    for key, node in boxes.items():
        assert node["tokens"] == max(starts[key], ends[key])
        assert node["y"] + node["height"] <= picture["height"] + 0.1


def test_small_sources_are_one() -> None:
    picture = flow_picture(flows_of([100 - number for number in range(20)]))
    names = [node["name"] for node in picture["nodes"] if node["is_source"]]
    assert len(names) == 12 + 1
    (rest,) = (node for node in picture["nodes"] if node["name"] == "8 other sources")
    assert rest["tokens"] == sum(size + size // 3 for size in range(81, 89))


def test_one_small_source_is_itself() -> None:
    picture = flow_picture(flows_of([100 - number for number in range(13)]))
    names = [node["name"] for node in picture["nodes"] if node["is_source"]]
    assert len(names) == 13
    assert not any("other" in name for name in names)


def test_no_flow_is_an_empty_picture() -> None:
    assert flow_picture([]) == {"width": 900, "height": 0.0, "bands": [], "nodes": []}
