"""The layers of `pipeline`, and that the check which holds them can fail."""

import re
from collections import Counter
from pathlib import Path

import pytest
from layers import Layer, check
from support.paths import REPOSITORY

import pipeline

PACKAGE = Path(pipeline.__file__).parent

LAYERS: list[Layer] = [
    ["version"],
    ["core"],
    ["__init__"],
    ["config"],
    ["order"],
    # Stages are functions of values; none knows another, but all may know texts and tokens.
    ["stages", "stages.tokenizer"],
    ["stages.text_digest"],
    [f"stages.{one}" for one in ("chunking", "dedup", "filters", "holdout", "sampling")],
    ["storage"],
    ["sources"],
    ["dataset"],
    ["feed"],
    ["runner"],
    ["audit"],
    ["show"],
    ["train"],
    ["cli"],
    ["__main__"],
]

ALLOWED: dict[tuple[str, str], str] = {}
"""Imports within a layer, with the reason for each."""

HEAVY = {"torch": "train"}
"""What only one room may import."""


def test_imports_go_to_a_lower_layer_and_torch_stays_in_its_room() -> None:
    assert check(PACKAGE, LAYERS, allowed=ALLOWED, heavy=HEAVY) == []


def test_every_module_has_a_test_file_of_its_name_or_a_line_that_says_which_covers_it() -> None:
    named = {path.stem for path in (REPOSITORY / "tests").rglob("test_*.py")}
    listed = (REPOSITORY / "tests" / "README.md").read_text()
    modules = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py", "version.py")
    ]
    untested = [
        module
        for module in modules
        if f"test_{Path(module).stem}" not in named and f"`{module}`" not in listed
    ]
    gone = [
        name
        for name in re.findall(r"`(\w+/[\w/*]+\.py)`", listed)
        if not list(PACKAGE.glob(name)) and not list((REPOSITORY / "tests").glob(name))
    ]
    assert (untested, gone) == ([], [])


def test_files_are_short_and_seldom_share_a_name() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert [path.name for path in paths if len(path.read_text().splitlines()) > 400] == []
    # Readers, writers and reports play one role in parallel rooms.
    kept = ("__init__.py", "reader.py", "writer.py", "report.py")
    names = Counter(path.name for path in paths if path.name not in kept)
    # A verb of the command line is named as typed, and so is what it calls.
    verbs = {path.name for path in (PACKAGE / "cli").glob("*.py")}
    shared = {name: count for name, count in names.items() if count > 1}
    assert shared.keys() - verbs == set()
    assert sum(shared.values()) < 15


def package(folder: Path, files: dict[str, str]) -> Path:
    """Write a made-up package with three layers, changed by `files`."""
    content = {
        "__init__.py": "",
        "ground.py": "import json\n",
        "rooms/__init__.py": "from made.rooms.one import one\n",
        "rooms/one.py": "from made.ground import x\none = x\n",
        "stage.py": "from made import ground\n",
        "top.py": "import made.rooms\nfrom made.stage import ground\n",
        "train/loop.py": "import torch.nn\nfrom made.top import y\n",
        **files,
    }
    for name, text in content.items():
        path = folder / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "made"


MADE: list[Layer] = [["ground"], ["rooms", "stage"], ["top"], ["train"], ["__init__"]]


def complaints(
    folder: Path, files: dict[str, str], allowed: dict[tuple[str, str], str] | None = None
) -> list[str]:
    return check(package(folder, files), MADE, allowed=allowed or {}, heavy=HEAVY)


def test_the_made_up_package_is_clean(tmp_path: Path) -> None:
    assert complaints(tmp_path, {}) == []


UPWARD = "made/ground.py:{}: ground imports top, which is above it"
TORCH = "made/stage.py:{}: imports torch, which only train may"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"ground.py": "import made.top\n"}, UPWARD.format(1)),
        ({"ground.py": "from made import top\n"}, UPWARD.format(1)),
        ({"ground.py": "from . import top\n"}, UPWARD.format(1)),
        ({"ground.py": "from .top import y\n"}, UPWARD.format(1)),
        ({"ground.py": "def f():\n    from made.top import y\n"}, UPWARD.format(2)),
        ({"ground.py": "class A:\n    if A:\n        import made.top as t\n"}, UPWARD.format(3)),
        ({"ground.py": "if TYPE_CHECKING:\n    from made.top import y\n"}, UPWARD.format(2)),
        ({"ground.py": "importlib.import_module('made.top')\n"}, UPWARD.format(1)),
        ({"ground.py": "__import__('made.top')\n"}, UPWARD.format(1)),
        (
            {"rooms/one.py": "from ..top import y\n"},
            "made/rooms/one.py:1: rooms imports top, which is above it",
        ),
        (
            {"stage.py": "from made.rooms import one\n"},
            "made/stage.py:1: stage imports rooms, which is beside it",
        ),
        ({"stage.py": "import torch\n"}, TORCH.format(1)),
        ({"stage.py": "import json, torch.nn as nn\n"}, TORCH.format(1)),
        ({"stage.py": "def f():\n    from torch import nn\n"}, TORCH.format(2)),
        (
            {"top.py": "from made.rooms.one import one\n"},
            "made/top.py:1: imports rooms.one, which its door does not list",
        ),
        ({"new.py": ""}, "new: is in no layer"),
        ({"more/new.py": ""}, "more.new: is in no layer"),
        (
            {
                "rooms/two.py": "from made.rooms import one\n",
                "rooms/one.py": "import made.rooms.two\n",
            },
            "rooms.one: imports itself in a circle",
        ),
    ],
)
def test_every_rule_can_be_broken(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    assert complaint in complaints(tmp_path, files)


def test_a_room_that_is_gone_must_leave_the_table(tmp_path: Path) -> None:
    (package(tmp_path, {}) / "stage.py").unlink()
    found = check(tmp_path / "made", MADE, allowed={}, heavy=HEAVY)
    assert "stage: is in a layer, but there is none" in found


def test_an_import_beside_is_allowed_by_name_and_only_while_it_is_done(tmp_path: Path) -> None:
    allowed = {("stage", "rooms"): "for the test"}
    assert complaints(tmp_path, {"stage.py": "import made.rooms\n"}, allowed) == []
    other = complaints(tmp_path / "other", {}, allowed)
    assert other == ["stage -> rooms: is allowed, but not done"]
