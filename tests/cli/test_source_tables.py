"""Every table of sources adds up as it is printed: of plans and builds, shipped and random."""

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import builds
from support.commands import call
from support.here import Here, run_here
from support.imbalances import imbalances
from support.paths import REPOSITORY
from support.tables import check_flow, check_sums, read_tables

from pipeline.cli.source_tables import bytes_column, print_documents, print_tokens
from pipeline.config.load import load_config, load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.errors import ConfigError
from pipeline.dataset import rows_of, with_sums
from pipeline.runner import run, sampled_shards
from pipeline.runner.estimate import estimate_sources
from pipeline.runner.plan import make_plan

SHIPPED = [
    path.stem
    for path in sorted((REPOSITORY / "mixtures").glob("*.yaml"))
    if isinstance(load_config(path), Mixture)
]


def check_printed(out: str) -> None:
    """Assert that all tables in what was printed add up, and fit a terminal of 120 columns."""
    tables = [*read_tables(out)]
    assert len(tables) >= 2
    assert sum(map(check_sums, tables)) > 0
    assert check_flow(out) >= 2
    heads = [line for line in out.splitlines() if line.strip().startswith("category ")]
    assert max(len(line.rstrip()) for line in heads) <= 120
    for table in tables:
        if "asked, %" in table.total:
            assert (table.total["asked, %"], table.total["got, %"]) == (100, 100)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_of_a_shipped_mixture_adds_up(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = call(capsys, "plan", name, "--raw", tmp_path)
    assert code == 0
    check_printed(out)
    mixture = load_mixture(REPOSITORY / "mixtures" / f"{name}.yaml")
    rows = [one.counts for one in estimate_sources(make_plan(mixture, None, tmp_path))]
    assert list(imbalances(with_sums(rows))) == []


@pytest.mark.parametrize("name", ["sample", "custom-example"])
def test_the_build_of_a_shipped_mixture_adds_up(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch, sampled_shards, Here())
    code, out, _ = call(capsys, "build", name, "--out", tmp_path / "out", "--workers", "1")
    assert code == 0
    check_printed(out)
    documents, tokens = read_tables(out)
    for key, line in documents.sources.items():
        dropped = line.get("dropped", 0)
        assert dropped is not None
        assert line["documents"] == dropped + line.get("kept", line["documents"])  # type: ignore[operator]
        assert tokens.sources[key]["rows"] > 0  # type: ignore[operator]


BUDGETS = ["tokens: all", "tokens: 2000", "epochs: 3/2", "tokens: 12k, max_repetition: 9", "share"]
CHUNKS = [
    "{size: 64}",
    "{algorithm: ettin-slice-v2, size: 64, min_size: 16, skip_below: 8, seed: 1}",
]
EXTRAS = {
    "dedup": "dedup: {}\n",
    "near": "dedup: {minhash: {}, scope: source}\n",
    "holdout": "validation: {fraction: 0.1}\n",
    "published holdout": "validation: {algorithm: ettin-validation-v1, fraction: 0.1}\n",
    "scale": "scale: 0.6\n",
}
SAMPLES = ["keyed-v1", "ettin-partitions-v1", "ettin-partitions-v2", "ettin-longest-first-v1"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of two kinds: documents that recur, and some that cannot be read."""
    folder = tmp_path_factory.mktemp("inputs")
    for kind in "ab":
        for number in range(2):
            own = builds.documents(f"{kind}{number}", 30, 120)
            again = [{**one, "id": f"again-{one['id']}"} for one in own[:5]]
            lines = builds.json_lines([*own, *again, {"id": "none", "other": "text"}])
            (folder / f"{kind}{number}.jsonl").write_bytes(lines)
    return folder


@st.composite
def mixtures(draw: st.DrawFn) -> str:
    """The text of a mixture of the inputs."""
    sources, shared = "", 0
    for name in draw(st.sampled_from(["a", "ab", "abc"])):
        budget = draw(st.sampled_from(BUDGETS))
        shared += budget == "share"
        filters = ", filters: [length: {min_chars: 40}]" if draw(st.booleans()) else ""
        path, category = "b" if name == "b" else "a", draw(st.sampled_from(["one", "two"]))
        origin = f"category: {category}, from: {{path: {path}*.jsonl}}"
        sources += f"  {name}: {{{origin}, {budget}{filters}}}\n"
    sources = sources.replace("share", f"share: 1/{shared or 1}, max_repetition: 9")
    extra = "".join(
        EXTRAS[one] for one in draw(st.sets(st.sampled_from(sorted(EXTRAS)), max_size=2))
    )
    order = "order: {seed: 1, global_batch_size: 4, max_seq_len: 64}\n"
    total = "tokens: 5k\n" if shared else ""
    sample = f"sample: {{algorithm: {draw(st.sampled_from(SAMPLES))}}}\n"
    return (
        f"name: random\non_error: skip\nmax_bad: 1\n{total}chunk: {draw(st.sampled_from(CHUNKS))}\n"
        f"sources:\n{sources}{order}{extra}{sample}"
    )


def print_all(rows: list[object]) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        print_documents(rows)  # type: ignore[arg-type]
        print_tokens(rows)  # type: ignore[arg-type]
    return printed.getvalue()


def test_tables_of_random_mixtures_add_up(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, sampled_shards, Here())
    built: list[str] = []

    @settings(derandomize=True, max_examples=12, deadline=None, database=None)
    @given(mixtures())
    def add_up(text: str) -> None:
        try:
            mixture = load_mixture(inputs / "m.yaml", text=text.encode())
        except ConfigError:
            return  # Keys that exclude each other.
        planned = [one.counts for one in estimate_sources(make_plan(mixture, None, inputs))]
        with tempfile.TemporaryDirectory(dir=inputs) as out:
            made = run.build(
                mixture, Path(out) / "out", workers=1, scheduler=None, report=lambda *_: None
            )
        built.append(text)
        for rows in (sorted(planned, key=lambda row: (row.category, row.source)), rows_of(made)):
            assert list(imbalances(with_sums(rows))) == []
            check_printed(print_all([*rows]))
        # What was read in full is known to the document.
        if mixture.dedup is None and mixture.sample.algorithm != "ettin-partitions-v2":
            by_name = {row.source: row for row in planned}
            for row in rows_of(made):
                of = by_name[row.source]
                assert (of.documents, of.kept, of.read) == (row.documents, row.kept, row.read)

    add_up()
    assert len(built) >= 8


def test_a_column_of_bytes_has_one_unit_and_sums_exactly() -> None:
    column = bytes_column("input", {"a": 3 << 30, "b": 700 << 20, "c": 1})
    assert column.heading == "input, MiB"
    assert [column.cell([source]) for source in "abc"] == ["3,072.0", "700.0", "0.0"]
    assert column.cell("abc") == "3,772.0"
    assert bytes_column("input", {"a": 12, "b": 5}).cell("ab") == "17"
