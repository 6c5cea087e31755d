"""The mixtures that ship are the published table, and resolve to what they always did."""

import json
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support import paths
from support.paths import REPOSITORY

from pipeline.audit.attest import load_facts
from pipeline.config.budget_table import budget_table, in_billions, in_percent
from pipeline.config.load import load_config, load_mixture
from pipeline.config.mixture import Mixture
from pipeline.config.replay import Replay
from pipeline.config.settings import to_plain

MIXTURES = REPOSITORY / "mixtures"
GOLDEN = paths.GOLDEN / "mixtures"
PHASES = ("pretraining", "extension", "decay")
FILES = sorted(MIXTURES.glob("*.yaml"))

# The table of the suite's repository: category, row, then tokens in billions and percent in
# pre-training, extension and decay.
# Source: JHU-CLSP/ettin-encoder-vs-decoder, `assets/training_data.jpg`.
PUBLISHED = """
Scientific  | Arxiv                   |   28.0 |  1.6 |   4.1 |  1.6 |  3.0 |  3.9
Reference   | Books                   |    5.3 |  0.3 |   0.8 |  0.3 | 10.5 | 13.8
Crawl       | CC Head                 |  356.6 | 20.9 |     - |    - |    - |    -
News        | CC News                 |    7.3 |  0.4 |     - |    - |    - |    -
Code        | Code_Repos              |      - |    - |     - |    - | 20.2 | 26.5
Crawl       | DCLM                    |  837.2 | 49.1 |     - |    - |    - |    -
Crawl       | DCLM (Dolmino)          |      - |    - | 175.5 | 70.4 | 26.0 | 34.1
Math        | Math (Dolmino)          |      - |    - |  10.4 |  4.2 |  5.0 |  6.6
Math        | Open-Web-Math           |   12.7 |  0.7 |     - |    - |    - |    -
Math        | Algebraic StackExchange |   12.6 |  0.7 |     - |    - |    - |    -
Scientific  | PeS2o                   |   57.3 |  3.4 |   8.3 |  3.3 |    - |    -
Social      | Reddit                  |   80.3 |  4.7 |   6.2 |  2.5 |    - |    -
Social      | StackExchange           |   19.6 |  1.1 |     - |    - |    - |    -
Social      | StackExchange (Dolmino) |      - |    - |   2.7 |  1.1 |  4.0 |  5.2
Code        | Starcoder               |  263.9 | 15.5 |  38.4 | 15.4 |    - |    -
Reference   | Textbooks               |      - |    - |     - |    - |  0.5 |  0.7
Instruction | Tulu Flan               |   16.6 |  1.0 |   2.4 |  1.0 |  4.1 |  5.4
Reference   | Wikipedia               |    7.3 |  0.4 |   0.5 |  0.2 |  3.0 |  3.9
Total       | Total                   | 1704.7 |  100 | 249.3 |  100 | 76.3 |  100
"""

# Names of sources as in the released folders; where phases spell one differently, with hyphens.
ROWS = {
    "arxiv": "Arxiv",
    "books": "Books",
    "cc_en_head": "CC Head",
    "cc_news": "CC News",
    "code_repos": "Code_Repos",
    **{
        f"mlfoundations-dclm-baseline-1.0-parquet-sampled{one}": "DCLM"
        for one in ("", "-v2", "-v3", "-v4")
    },
    "dclm-dolmino": "DCLM (Dolmino)",
    "math-dolmino": "Math (Dolmino)",
    "open-web-math": "Open-Web-Math",
    "algebraic-stack": "Algebraic StackExchange",
    "pes2o": "PeS2o",
    "reddit": "Reddit",
    "stackexchange": "StackExchange",
    "stackexchange-dolmino": "StackExchange (Dolmino)",
    "starcoder": "Starcoder",
    "textbooks": "Textbooks",
    "tulu_flan": "Tulu Flan",
    "wikipedia": "Wikipedia",
}


def published(phase: str) -> dict[str, tuple[str, str, str]]:
    """Return category, tokens and percent of a phase by row."""
    column = 2 + 2 * PHASES.index(phase)
    lines = [[cell.strip() for cell in line.split("|")] for line in PUBLISHED.strip().split("\n")]
    return {
        cells[1]: (cells[0], cells[column], cells[column + 1])
        for cells in lines
        if cells[column] != "-"
    }


def row_of(source: str) -> str:
    whole = re.sub(r"[_-](dup|2|dup_2)$", "", source)
    return ROWS.get(whole) or ROWS[whole.replace("_", "-")]


def phase_of(name: str) -> Mixture:
    return load_mixture(MIXTURES / f"ettin-{name}.yaml")


@pytest.mark.parametrize("phase", PHASES)
def test_every_source_is_the_published_row_to_the_digit_shown(phase: str) -> None:
    rows = published(phase)
    _, total, _ = rows.pop("Total")
    table = budget_table(phase_of(phase))
    summed: dict[tuple[str, str], tuple[int, Fraction]] = {}
    for row in table.sources:
        assert row.source is not None
        assert row.tokens is not None
        assert row.percent is not None
        key = row_of(row.source), row.category
        tokens, percent = summed.get(key, (0, Fraction()))
        summed[key] = tokens + row.tokens, percent + row.percent
    shown = {
        name: (category, in_billions(tokens), in_percent(percent))
        for (name, category), (tokens, percent) in summed.items()
    }
    assert shown == rows
    assert table.total is not None
    assert in_billions(table.total).replace(",", "") == total


@pytest.mark.parametrize("phase", PHASES)
def test_every_category_is_the_sum_of_its_published_rows(phase: str) -> None:
    rows = published(phase)
    total = Fraction(rows.pop("Total")[1])
    sums: dict[str, Fraction] = {}
    for category, tokens, _ in rows.values():
        sums[category] = sums.get(category, Fraction()) + Fraction(tokens)
    expected = {
        category: (f"{float(tokens):,.1f}", f"{float(100 * tokens / total):.1f}")
        for category, tokens in sums.items()
    }
    table = budget_table(phase_of(phase))
    shown = {}
    for row in table.categories:
        assert row.source is None
        assert row.tokens is not None
        assert row.percent is not None
        shown[row.category] = (in_billions(row.tokens), in_percent(row.percent))
    assert shown == expected
    assert sum(row.tokens or 0 for row in table.categories) == table.total


def test_the_copied_table_adds_up() -> None:
    for phase in PHASES:
        rows = published(phase)
        total = Fraction(rows.pop("Total")[1])
        assert sum(Fraction(tokens) for _, tokens, _ in rows.values()) == total
        for _, tokens, percent in rows.values():
            assert in_percent(100 * Fraction(tokens) / total) == percent


def test_an_unknown_amount_makes_its_sums_unknown() -> None:
    text = b"""\
name: partly
chunk: {size: 64}
sources:
  a: {category: x, from: {path: a}, tokens: 30}
  b: {category: x, from: {path: b}, epochs: 2, expected: 10}
  c: {category: y, from: {path: c}}
order: {seed: 1, global_batch_size: 8, max_seq_len: 64}
"""
    table = budget_table(load_mixture(Path("m.yaml"), text=text))
    assert [(row.source, row.tokens, row.percent) for row in table.sources] == [
        ("a", 30, None),
        ("b", 10, None),
        ("c", None, None),
    ]
    assert [(row.category, row.tokens) for row in table.categories] == [("x", 40), ("y", None)]
    assert table.total is None
    known = load_mixture(Path("m.yaml"), ["sources.c.expected=60"], text=text)
    assert [row.percent for row in budget_table(known).categories] == [40, 60]


# What a reader of the published pools needs to find again.


def test_the_settings_of_each_phase_are_the_published_ones() -> None:
    for phase, name, algorithm, size, max_seq_len in (
        ("pretraining", "checkpoint", "ettin-retokenize-v1", 1024, 1024),
        ("extension", "ext", "ettin-slice-v2", 8000, 7999),
        ("decay", "decay", "ettin-slice-v2", 8000, 7999),
    ):
        rebuilt = phase_of(phase)
        replayed = load_config(MIXTURES / f"ettin-{phase}-published.yaml")
        assert isinstance(replayed, Replay)
        assert replayed.order == rebuilt.order
        assert (replayed.tokenizer, replayed.shards) == (rebuilt.tokenizer, rebuilt.shards)
        assert rebuilt.phase == replayed.phase == name
        assert (rebuilt.order.seed, rebuilt.order.global_batch_size) == (21, 4608)
        assert rebuilt.order.algorithm == "ettin-pcg64dxsm-v1"
        assert rebuilt.order.max_seq_len == max_seq_len
        chunk = rebuilt.chunk
        assert (chunk.algorithm, chunk.size) == (algorithm, size)
        assert (chunk.min_size, chunk.skip_below, chunk.seed) == (512, 128, 42)
        assert replayed.pool is not None
        assert replayed.pool.hub == f"jhu-clsp/ettin-{phase}-data"
        assert replayed.pool.folder == "train"
        assert all(source.filters == () for source in rebuilt.sources)
        assert rebuilt.assumptions
        assert replayed.assumptions


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_assumptions_name_facts_that_ship(path: Path) -> None:
    facts = load_facts()
    names = [one.name for own in facts.values() for one in own]
    for assumption in load_config(path).assumptions:
        for reason in assumption.because:
            repo = "/".join(reason.split("/")[:2])
            if repo in facts:
                assert any(f"{name}/".startswith(f"{reason}/") for name in names), reason


def test_budgets_that_are_known_to_the_token_are_written_to_the_token() -> None:
    by_name = {source.name: source for phase in PHASES for source in phase_of(phase).sources}
    passes = [source.tokens for name, source in by_name.items() if row_of(name) == "DCLM"]
    assert len(passes) == 4
    assert sum(one for one in passes if isinstance(one, int)) == 837_179_337_679
    assert by_name["dclm-dolmino"].tokens == 175_500_000_000


def test_passes_and_copies_are_named_as_the_released_folders() -> None:
    names = {phase: {source.name for source in phase_of(phase).sources} for phase in PHASES}
    sampled = "mlfoundations-dclm-baseline-1.0-parquet-sampled"
    assert {sampled, f"{sampled}-v2", f"{sampled}-v3", f"{sampled}-v4"} <= names["pretraining"]
    assert {"wikipedia", "wikipedia_dup"} <= names["pretraining"]
    assert {"stackexchange-dolmino", "stackexchange-dolmino-dup"} <= names["extension"]
    copies = {"stackexchange_dolmino_dup", "stackexchange_dolmino_dup_2", "books_2", "textbooks_2"}
    assert copies <= names["decay"]


def test_no_file_of_dclm_is_in_two_passes() -> None:
    files = [
        one.origin.files for one in phase_of("pretraining").sources if one.name.startswith("mlf")
    ]
    assert len(set(files)) == len(files) == 4


def test_the_addresses_of_dolma_are_as_many_as_were_listed() -> None:
    num_files = {"cc_news": 5}  # of nine, the five that were left
    num_files |= {"arxiv": 100, "books": 3, "cc_en_head": 275, "open-web-math": 13, "pes2o": 26}
    num_files |= {"algebraic-stack": 16, "reddit": 78, "stackexchange": 26, "starcoder": 49}
    num_files |= {"tulu_flan": 66, "wikipedia": 2, "wikipedia_dup": 2}
    found = {
        source.name: sum(_expanded(url) for url in source.origin.url)
        for source in phase_of("pretraining").sources
        if source.origin.url is not None
    }
    assert found == num_files


def _expanded(url: str) -> int:
    braces = url[url.index("{") + 1 : url.index("}")]
    first, _, last = braces.partition("..")
    return int(last) - int(first) + 1 if last else len(braces.split(","))


def test_every_published_source_has_its_terms_unless_none_are_stated() -> None:
    unstated = {
        source.name
        for phase in PHASES
        for source in phase_of(phase).sources
        if source.licence is None
    }
    assert unstated == {"code_repos", "textbooks", "textbooks_2"}


# The resolved form.


def test_the_goldens_are_of_the_files_that_ship() -> None:
    assert len(FILES) >= 8
    assert {path.stem for path in GOLDEN.glob("*.json")} == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_mixture_resolves_to_what_it_always_did(path: Path) -> None:
    declared = load_config(path)
    resolved: dict[str, Any] = {
        "fingerprint": declared.fingerprint,
        "declaration": declared.declaration(),
    }
    if isinstance(declared, Replay):
        resolved["pool"] = to_plain(declared.pool)
    golden = GOLDEN / f"{path.stem}.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(resolved, indent=1, sort_keys=True) + "\n")
    assert resolved == json.loads(golden.read_bytes())
