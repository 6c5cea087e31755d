"""Curves: answers of models -> their measures over training, as events of TensorBoard or a picture.

A model lies at the number of tokens that it has seen. Losses of encoders and decoders are of
different questions, so their measures have different names and are never drawn in one panel.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, NamedTuple

from pipeline.core.errors import ConfigError
from pipeline.core.files import publish_beside, writing
from pipeline.core.units import format_tokens
from pipeline.train.metrics import EventFile

_Answer = Mapping[str, Any]

# So that no file says when it was drawn.
_UNDATED: Final[dict[str, dict[str, Any]]] = {
    "pdf": {"CreationDate": None},
    "png": {},
    "svg": {"Date": None},
}
_NUM_COLUMNS: Final = 3


class Measure(NamedTuple):
    """A number of an answer, with its interval where it has one."""

    name: str
    """`suite/measure`."""
    unit: str
    value: float
    low: float | None = None
    high: float | None = None


def measures(answer: _Answer) -> Iterator[Measure]:
    """Yield the numbers of an answer that are known. Pure."""
    kind = answer["kind"]
    units = {"loss": "label", "per_byte": "byte", "pseudo_log_likelihood": "token"}
    for name, unit in units.items():
        if (value := answer.get("held-out", {}).get(name)) is not None:
            yield Measure(f"held-out/{kind}-{name}", f"nats a {unit}", value)
    for times, one in answer.get("recall", {}).get("by_times_seen", {}).items():
        if one["difference"] is not None:
            name = f"recall/{kind}-seen-{times}"
            yield Measure(name, "nats a label", one["difference"], one["low"], one["high"])
    if found := answer.get("minimal-pairs"):
        yield Measure("minimal-pairs/accuracy", "of pairs", found["accuracy"])
    for gender, one in answer.get("bias", {}).get("by_gender", {}).items():
        yield Measure(f"bias/{gender}", "share", one["share"], one["low"], one["high"])


def write_events(answers: Sequence[_Answer], folder: Path) -> None:
    """Write the measures as a run of TensorBoard for each place where models were found.

    What an earlier call wrote of the same place is no longer shown. A model of which no tokens are
    known is at 0.

    Raises: OutputError when the folder cannot be written.
    """
    with writing(folder), ExitStack() as stack:
        files: dict[str, EventFile] = {}
        names = _run_names(answer["found_in"] for answer in answers)
        for answer in answers:
            place = answer["found_in"]
            if place not in files:
                run = folder / names[place]
                run.mkdir(parents=True, exist_ok=True)
                files[place] = stack.enter_context(EventFile(run, -1))
            numbers = {one.name: one.value for one in measures(answer)}
            files[place].add(answer["num_tokens"] or 0, numbers)


def _run_names(places: Iterable[str]) -> dict[str, str]:
    """Return a name of a folder for each place, no two the same. Pure."""
    names: dict[str, str] = {}
    for place in dict.fromkeys(places):
        # Not a way out of the folder that they lie in.
        plain = re.sub(r"[^\w.@-]+", "-", place).strip("-.") or "models"
        others = (f"{plain}-{number}" for number in count(2))
        names[place] = next(one for one in chain([plain], others) if one not in names.values())
    return names


def check_folder(folder: Path) -> None:
    """Make a folder. Raises: OutputError unless files can be written there."""
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


def check_picture(path: Path) -> None:
    """Raises: ConfigError or OutputError unless a picture of this name can be drawn."""
    if path.suffix[1:] not in _UNDATED:
        raise ConfigError(
            f"{path}: got the ending {path.suffix or 'none'}, expected"
            f" {', '.join(f'.{ending}' for ending in _UNDATED)}"
        )
    if find_spec("matplotlib") is None:
        raise ConfigError(
            f"{path}: got no matplotlib, expected the package that draws it",
            "pip install 'ettin-data[train]'",
        )
    check_folder(path.parent)


def draw_curves(answers: Sequence[_Answer], path: Path) -> None:
    """Draw a panel for each measure, with a line for each place where models were found.

    The same answers give the same bytes of SVG. An interval is a band; a model of which no tokens
    are known is a dotted line at its value.

    Raises: as `check_picture`, and OutputError when the file cannot be written.
    """
    check_picture(path)
    import matplotlib
    from matplotlib.figure import Figure

    places = [*dict.fromkeys(answer["found_in"] for answer in answers)]
    panels = _panels(answers)
    num_columns = min(len(panels), _NUM_COLUMNS)
    num_rows = -(-len(panels) // num_columns)
    with matplotlib.rc_context({"svg.hashsalt": "ettin-data"}):
        size = (4 * num_columns, 3 * num_rows + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        shown: dict[str, Any] = {}
        for at, (name, lines) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(num_rows, num_columns, at)
            axes.set_title(name)
            axes.set_xlabel("tokens seen")
            axes.xaxis.set_major_formatter(lambda at, _: format_tokens(round(at)))
            for place, points in lines.items():
                shown[place] = _draw_line(axes, points, f"C{places.index(place)}")
                axes.set_ylabel(points[0][1].unit)
        figure.legend(shown.values(), shown.keys(), loc="outside upper center")
        ending = path.suffix[1:]
        with publish_beside(path) as temporary:
            figure.savefig(temporary, format=ending, metadata=_UNDATED[ending])


_Point = tuple[int | None, Measure]


def _panels(answers: Sequence[_Answer]) -> dict[str, dict[str, list[_Point]]]:
    """Return the points of each measure by the place where the models were found."""
    panels: dict[str, dict[str, list[_Point]]] = {}
    for answer in answers:
        for one in measures(answer):
            points = panels.setdefault(one.name, {}).setdefault(answer["found_in"], [])
            points.append((answer["num_tokens"], one))
    return dict(sorted(panels.items()))


def _draw_line(axes: Any, points: Sequence[_Point], colour: str) -> Any:
    """Draw the points of a place; return what its legend shows."""
    known = sorted((tokens, one) for tokens, one in points if tokens is not None)
    at = [tokens for tokens, _ in known]
    (line,) = axes.plot(at, [one.value for _, one in known], color=colour, marker="o", markersize=3)
    if known and known[0][1].low is not None:
        low, high = ([getattr(one, side) for _, one in known] for side in ("low", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    for tokens, one in points:
        if tokens is None:
            axes.axhline(one.value, color=colour, linestyle=":")
    return line
