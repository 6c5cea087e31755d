"""What opens: whole outputs, pools, published rows, manifests; and what is left of damaged ones."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds
from support.paths import SHARED

from pipeline.config import load_config
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import InputError, MismatchError, NotFoundError, PipelineError
from pipeline.show import Shown, about_view, answer, order_view, row_view, step_view

VIEWS = {
    "order": "columns=3",
    "step": "step=2",
    "row": "row=3",
    "document": "document=long-2",
    "budget": "",
    "proof": "row=3",
}


def results(shown: Shown) -> dict[str, str]:
    """Ask every view; return the kind of error of those that have no answer."""
    found = {}
    for name, query in VIEWS.items():
        try:
            answer(shown, name, query)
        except PipelineError as error:
            found[name] = type(error).__name__
    return found


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


def test_a_whole_output_answers_everything(shown: Shown) -> None:
    assert results(shown) == {}
    about = about_view(shown)
    assert (about["state"], about["problems"], about["name"]) == ("finished", [], "small")
    assert about["sources"] == ["long", "notes", "plain", "prose", "tables"]
    assert (about["view"], about["max_seq_len"], about["has_provenance"]) == ("encoder", 128, True)
    assert about["has_tokenizer"]
    assert about["checkpoints"][-1]["last_step"] == about["num_steps"]


def test_the_largest_sources_are_ranked_once_for_all_views(
    shown: Shown, finished: Path, tmp_path: Path
) -> None:
    drawn = {one["name"]: one["drawn"] for one in answer(shown, "budget", "")["sources"]}
    ranked = sorted(drawn, key=lambda name: (-drawn[name], name))
    assert about_view(shown)["largest"] == ranked != [*shown.sources]
    # Without budgets, by a survey, which is here of all rows.
    settings = ("--set", "order.seed=3", "--set", "order.global_batch_size=8")
    builds.run_well("order", finished / "train", "--out", tmp_path / "replayed", *settings)
    replayed = Shown.open(tmp_path / "replayed")
    columns = order_view(replayed, columns=1)["columns"]
    tokens = dict(zip(replayed.sources, columns[0]["tokens"], strict=True))
    assert [*replayed.largest] == sorted(tokens, key=lambda name: (-tokens[name], name))


def test_a_checkpoint_has_seen_the_steps_up_to_its_own(shown: Shown) -> None:
    (name, last), (after, _), *_ = shown.checkpoints()
    found = [shown.checkpoint_after(step) for step in (1, last, last + 1)]
    assert found == [name, name, after]
    assert shown.checkpoint_after(shown.checkpoints()[-1][1] + 1) is None


def test_the_assumptions_of_a_shipped_mixture_are_named() -> None:
    assert about_view(Shown.open("sample"))["assumptions"] == []


@pytest.mark.parametrize("name", ["ettin-decay", "ettin-extension-published"])
@pytest.mark.parametrize("overrides", [(), ("order.seed=7",)])
def test_the_assumptions_of_another_mixture_of_that_name_are_not(
    finished: Path, name: str, overrides: tuple[str, ...]
) -> None:
    shown = Shown.open(finished)
    assert shown.manifest is not None
    declared = load_config(mixture_path(name), overrides)

    def assumptions(fingerprint: str) -> int:
        assert shown.manifest is not None
        record = replace(
            shown.manifest.mixture, name=name, fingerprint=fingerprint, overrides=overrides
        )
        shown.manifest = replace(shown.manifest, mixture=record)
        return len(about_view(shown)["assumptions"])

    assert assumptions(declared.fingerprint) == len(declared.assumptions) > 0
    # What replays archives has a fingerprint of its own.
    assert assumptions("other") == (len(declared.assumptions) if "published" in name else 0)


def test_rows_without_a_manifest_are_a_published_order(finished: Path) -> None:
    shown = Shown.open(finished / "order")
    whole = Shown.open(finished)
    assert shown.state == "published"
    assert results(shown) == dict.fromkeys(
        ["order", "document", "budget", "proof"], "NotFoundError"
    )
    assert whole.positions is not None
    assert shown.need_positions().first_rows.tolist() == whole.positions.first_rows.tolist()
    assert shown.checkpoints() == whole.checkpoints()
    one, other = step_view(shown, step=4), step_view(whole, step=4)
    assert [row["start"] for row in one["rows"]] == [row["start"] for row in other["rows"]]
    assert one["rows"][0]["source"] is None
    assert one["counts"] == {}
    row, same = row_view(shown, row=50), row_view(whole, row=50)
    assert row["tokens"] == same["tokens"]
    assert (row["source"], row["is_cut_before"], row["borrowed"]) == (None, None, None)


def test_a_pool_has_rows_and_no_steps(finished: Path) -> None:
    shown = Shown.open(finished / "train")
    about = about_view(shown)
    assert (about["state"], about["num_steps"], about["sources"]) == ("pool", 0, [])
    assert row_view(shown, row=3)["step"] is None
    found = results(shown)
    assert found.pop("step") == "NotFoundError"
    assert {*found} == {"order", "document", "budget", "proof"}


def test_a_manifest_alone_has_budgets_and_no_rows(finished: Path) -> None:
    shown = Shown.open(finished / "manifest.json")
    assert (shown.state, shown.problems) == ("manifest", ())
    found = results(shown)
    assert "budget" not in found
    assert (found["row"], found["proof"]) == ("InputError", "InputError")
    with pytest.raises(NotFoundError, match="got a manifest alone, which has no provenance") as why:
        order_view(shown)
    shows = "this manifest alone shows checkpoints and budgets"
    assert why.value.hint == f"name the folder of the output; {shows}"


def test_an_output_without_its_manifest_is_damaged(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    for left in ("provenance", "order/steps.parquet", None):
        shown = Shown.open(copy)
        if left is None:
            assert (shown.state, shown.problems) == ("published", ())
            break
        assert shown.state == "damaged"
        gone = "manifest.json: is missing: run the same build again, which writes it"
        assert shown.problems == (gone,)
        assert results(shown) == dict.fromkeys(
            ["order", "document", "budget", "proof"], "MismatchError"
        )
        assert step_view(shown, step=2)["rows"][0]["start"]
        place = copy / left
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def test_a_missing_file_is_named_and_the_rest_is_shown(copy: Path) -> None:
    (gone, *_) = sorted((copy / "order").glob("*/*.parquet"))
    gone.unlink()
    shown = Shown.open(copy)
    assert shown.state == "damaged"
    assert f"{gone.relative_to(copy).as_posix()}: is missing" in shown.problems
    assert results(shown).keys() == {"row", "proof"}
    step = step_view(shown, step=2)
    assert step["rows"][0]["start"] is None
    assert step["rows"][0]["document"]
    assert step["rows_problem"] == f"{gone}: is missing"


def test_a_file_of_another_size_is_named(copy: Path) -> None:
    size = (copy / "order" / "steps.parquet").stat().st_size
    (path, *_) = sorted((copy / "train").rglob("*.mds"))
    (copy / "order" / "steps.parquet").write_bytes(b"PAR1")
    path.write_bytes(path.read_bytes() + b"x")
    problems = Shown.open(copy).problems
    named = path.relative_to(copy).as_posix()
    assert f"order/steps.parquet: got 4 bytes, expected {size:,} by the manifest" in problems
    assert any(one.startswith(f"{named}: got ") for one in problems)


def test_changed_rows_are_found_when_they_are_read(copy: Path) -> None:
    (path, *_) = sorted((copy / "order").glob("*/*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    shown = Shown.open(copy)
    found = results(shown)
    assert found.pop("row") in ("MismatchError", "InputError")
    assert found.keys() <= {"proof"}


@pytest.mark.parametrize("name", ["order/steps.parquet", "provenance"])
def test_without_steps_or_provenance_rows_are_shown(copy: Path, name: str) -> None:
    place = copy / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    shown = Shown.open(copy)
    assert shown.state == "damaged"
    assert any(name in one for one in shown.problems)
    found = results(shown)
    assert found == {"order": "MismatchError", "document": "MismatchError"}
    with pytest.raises(MismatchError, match=r"its provenance cannot be opened\nhint: .*") as raised:
        order_view(shown)
    assert raised.value.hint in shown.problems


def test_a_damaged_manifest_leaves_the_rows(copy: Path) -> None:
    data = bytearray((copy / "manifest.json").read_bytes())
    data[300] ^= 1
    (copy / "manifest.json").write_bytes(data)
    shown = Shown.open(copy)
    assert shown.state == "damaged"
    assert "is damaged" in shown.problems[0]
    assert results(shown).keys() == {"order", "document", "budget", "proof"}
    assert step_view(shown, step=2)["rows"][0]["start"]


def test_a_build_that_has_begun_opens(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    (copy / ".ettin").mkdir(exist_ok=True)
    shown = Shown.open(copy)
    not_yet = "manifest.json: is not there yet: run the same build again, which goes on where it"
    assert (shown.state, shown.problems) == ("unfinished", (f"{not_yet} stopped",))
    assert row_view(shown, row=3)["tokens"]
    empty = copy.parent / "begun"
    (empty / ".ettin").mkdir(parents=True)
    begun = Shown.open(empty)
    assert (begun.state, begun.num_rows) == ("unfinished", 0)
    assert results(begun) == dict.fromkeys(VIEWS, "NotFoundError")
    assert about_view(begun)["num_steps"] == 0
    for name, part in (("step", "steps"), ("row", "rows"), ("order", "steps"), ("proof", "ledger")):
        with pytest.raises(NotFoundError, match=f"is not finished, and has no {part} yet") as why:
            answer(begun, name, VIEWS[name])
        assert why.value.hint == begun.problems[0]


def test_partitions_that_were_built_alone_are_no_damage(tmp_path: Path) -> None:
    (tmp_path / "partial.json").write_text("{}")
    shown = Shown.open(tmp_path)
    assert shown.state == "unfinished"
    assert [one.rpartition(": ")[2] for one in shown.problems] == [
        "got partitions that were built alone (partial.json), expected a whole build"
    ]


def test_many_problems_are_counted(copy: Path) -> None:
    for path in sorted(copy.glob("train/**/*"))[:60]:
        if path.is_file():
            path.unlink()
    problems = Shown.open(copy).problems
    assert len(problems) <= 22
    assert any("more files are missing or of another size" in one for one in problems)


def test_what_is_no_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found, expected an order"):
        Shown.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="expected an order: files like"):
        Shown.open(tmp_path)
    (tmp_path / "x_000001").mkdir()
    table = pa.table({"input_ids": [[50281, 50282]], "step": [1]})
    pq.write_table(table, tmp_path / "x_000001" / "steps_000001_to_000001.parquet")
    with pytest.raises(NotFoundError, match="got phase 'decay', expected 'x'"):
        Shown.open(tmp_path, phase="decay")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared goldens are not beside this checkout")
def test_a_golden_order_and_its_pool_are_shown() -> None:
    golden = SHARED / "golden" / "reencode-1024"
    order = Shown.open(golden / "order" / "encoder")
    assert (order.state, len(order.need_positions().first_rows) - 1) == ("published", 82)
    step = step_view(order, step=82)
    assert all(one["start"] for one in step["rows"])
    row = row_view(order, row=step["first_row"])
    assert row["tokens"][0]["text"] == "[CLS]"
    pool = Shown.open(golden / "train")
    assert pool.state == "pool"
    assert row_view(pool, row=pool.num_rows - 1)["tokens"]
