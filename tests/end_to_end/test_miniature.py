"""Miniatures of the published phases, by the command line: lock, plan, pull, build, verify.

What the manifest says is compared with what is counted in the shards, and in the texts as they were
before anything read them.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain
from math import ceil, floor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from support import builds, miniature
from support.clusters import Build
from support.miniature import Miniature, Phase
from support.outputs import Row, num_tokens, read_dropped, read_rows

from pipeline.stages.text_digest import normalise
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Built:
    """A miniature that was built, and its output; not to be changed."""

    miniature: Miniature
    out: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the build says of itself."""
        manifest: dict[str, Any] = json.loads((self.out / "manifest.json").read_bytes())
        return manifest

    @cached_property
    def sources(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of each source."""
        return dict(self.manifest["sources"])

    @property
    def holds_out_documents(self) -> bool:
        """Whether the holdout is of whole documents, and has the same rows as in training."""
        return self.miniature.phase is not miniature.PRETRAINING

    def rows(self, source: str, part: str = "") -> list[Row]:
        """Return what the shards of a source hold; `part`: `validation`, or training."""
        folder = self.out / part / "train" / source
        return read_rows(folder) if (folder / "index.json").exists() else []

    def texts(self, source: str) -> dict[str, str]:
        """Return the texts of the files of a source that were read, by the id of the document."""
        texts = {}
        for partition in self.sources[source]["partitions"]:
            address = partition["input"]["path"]
            [path] = [
                one for one in self.miniature.texts if address.endswith(one.partition("/")[2])
            ]
            has_ids = path.endswith((".gz", ".zst", ".parquet"))
            for row, text in enumerate(self.miniature.texts[path]):
                made = f"{partition['partition']}/{row}"
                texts[miniature.document_id(path, row) if has_ids else made] = text
        return texts

    def dropped(self, source: str) -> Counter[str]:
        """Count what is kept of the dropped documents of a source, by reason."""
        return Counter(one["reason"] for one in read_dropped(self.out, source))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """What the mixtures declare."""
    return load_tokenizer("modernbert", add_prefix_space=False)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(miniature.PRETRAINING, marks=pytest.mark.slow),
        pytest.param(miniature.EXTENSION, marks=pytest.mark.slow),
        miniature.DECAY,
    ],
    ids=lambda phase: phase.name,
)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    """A miniature of each phase: locked, pulled and built by the command."""
    phase: Phase = request.param
    folder = tmp_path_factory.mktemp(phase.name)
    with miniature.serve_miniature(phase, folder) as made:
        made.run_well("lock")
        # From now on the newest tokenizer is another, which would decode to other texts.
        miniature.write_model(made.there / "other-llama", "other")
        made.server.push(miniature.MODEL, made.there / "other-llama")
        made.run_well("pull")
        made.server.reset()
        made.run_well("build", "--out", "out", "--workers", "2")
        assert made.server.counters()["requests"] == 0, "all had been pulled"
        yield Built(miniature=made, out=made.folder / "out")


def test_every_byte_is_as_the_manifests_say(built: Built) -> None:
    for folder in (built.out, built.out / "validation"):
        assert "every file matches the manifest" in builds.run_well("verify", folder)


def test_the_account_of_every_source_closes_to_the_token(built: Built) -> None:
    for name, source in built.sources.items():
        texts, rows = built.texts(name), built.rows(name)
        documents, tokens, budget = source["documents"], source["tokens"], source["budget"]
        dropped = documents["dropped"]
        assert documents["in"] == len(texts) == documents["kept"] + sum(dropped.values())
        assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"]
        assert tokens["drawn"] == budget["drawn"] == num_tokens(rows)
        if built.holds_out_documents:
            assert tokens["validation"] == num_tokens(built.rows(name, "validation"))
        assert source["chunks"]["drawn"] == len(rows)
        assert source["chunks"]["validation"] == len(built.rows(name, "validation"))
        assert budget["available"] == tokens["written"] - tokens["validation"]
        assert budget["drawn"] == budget["asked"] + budget["overshoot"]
        assert budget["repeated"] == max(0, budget["drawn"] - budget["available"])
        repetitions = budget["num_repetitions"]
        assert repetitions == budget["asked"] // budget["available"]
        # Every chunk is drawn so often, and some are drawn once more.
        drawn = Counter(rows)
        assert {repetitions, repetitions + 1} >= set(drawn.values()), name
        if repetitions:
            assert num_tokens(list(drawn)) == budget["available"]
        told = sum(partition["tokens"]["drawn"] for partition in source["partitions"])
        assert told == tokens["drawn"]


def test_the_tokens_that_enter_are_those_of_the_kept_documents(
    built: Built, tokenizer: Tokenizer
) -> None:
    for name, source in built.sources.items():
        texts = built.texts(name)
        for one in read_dropped(built.out, name):
            assert texts.pop(one["id"]) == one["text"]
        assert source["documents"]["kept"] == len(texts)
        assert source["tokens"]["in"] == len(tokenizer.encode(list(texts.values())).values)


def test_the_order_holds_what_was_drawn(built: Built) -> None:
    order = built.manifest["order"]
    drawn = Counter(row.ids for name in built.sources for row in built.rows(name))
    files = sorted(built.out.glob("order/*/*.parquet"))
    ordered = Counter(
        tuple(ids) for file in files for ids in pq.read_table(file)["input_ids"].to_pylist()
    )
    assert sum(source["tokens"]["drawn"] for source in built.sources.values()) == (
        order["num_tokens"]
        + order["num_tokens_dropped"]
        + order["num_tokens_cut"]
        - order["num_tokens_added"]
    )
    assert ordered <= drawn
    assert ordered.total() == order["num_rows"] == order["num_steps"] * 16
    assert drawn.total() - ordered.total() == order["num_rows_dropped"] < 16
    assert sum(len(ids) * times for ids, times in ordered.items()) == order["num_tokens"]


def test_what_is_asked_is_in_the_published_proportions(built: Built) -> None:
    phase = built.miniature.phase
    published, scale = miniature.published(phase), Fraction(phase.scale)
    asked = {name: source["budget"]["asked"] for name, source in built.sources.items()}
    assert asked.keys() == published.keys()
    for name, number in asked.items():
        assert abs(number - published[name] * scale) < 1, name
    assert sum(asked.values()) == floor(sum(published.values()) * scale + Fraction(1, 2))


def test_what_is_drawn_is_beyond_that_by_less_than_a_chunk(built: Built) -> None:
    """Though in pretraining whole files are drawn, of which each has more than is asked for."""
    for name, source in built.sources.items():
        budget, lengths = source["budget"], [len(row.ids) for row in built.rows(name)]
        assert 0 <= budget["overshoot"] < max(lengths), name
        # From each source a part is drawn.
        assert not budget["repeated"]
        assert budget["asked"] < budget["available"]


def test_no_text_is_in_both_training_and_validation(built: Built) -> None:
    if not built.holds_out_documents:
        pytest.skip("the published choice is by chunks")
    texts = {name: built.texts(name) for name in built.sources}
    aside = {name: {row.document for row in built.rows(name, "validation")} for name in texts}
    for name in texts:
        assert aside[name].isdisjoint(row.document for row in built.rows(name)), name
    # The texts of whatever is written and not set aside, drawn or not.
    digests = {name: {id_: normalise(text) for id_, text in texts[name].items()} for name in texts}
    set_aside = {digests[name][id_] for name in texts for id_ in aside[name]}
    trained = {digests[name][row.document] for name in texts for row in built.rows(name)}
    assert len(set_aside) >= len(texts)
    assert set_aside.isdisjoint(trained)


def test_each_source_gives_its_fraction_to_validation_and_less_than_a_text_more(
    built: Built,
) -> None:
    if not built.holds_out_documents:
        pytest.skip("the published choice is by chunks")
    texts = {name: built.texts(name) for name in built.sources}
    lengths = {name: _by_text(built.rows(name, "validation"), texts[name]) for name in texts}
    times = Counter(chain.from_iterable(lengths.values()))
    for name, source in built.sources.items():
        asked = ceil(Fraction(1, 50) * source["tokens"]["written"])
        given, own = source["tokens"]["validation"], lengths[name]
        assert given >= asked, name
        elsewhere = sum(length for text, length in own.items() if times[text] > 1)
        assert given < asked + max(own.values()) + elsewhere, name


def test_the_published_choice_gives_its_fraction_but_for_less_than_a_chunk(built: Built) -> None:
    if built.holds_out_documents:
        pytest.skip("whole documents are held out")
    for name, source in built.sources.items():
        held = num_tokens(built.rows(name, "validation"))
        # In slices; tokenizing again adds two ids to a chunk, and takes some.
        total = source["budget"]["asked"] if name.startswith("mlf") else source["tokens"]["written"]
        assert total / 50 - 1100 < held <= total / 50 + 1, name
    assert sum(num_tokens(built.rows(name, "validation")) for name in built.sources) > 1000


def _by_text(rows: list[Row], texts: dict[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found[normalise(texts[row.document])] += len(row.ids)
    return found


def test_a_row_of_validation_is_traced_to_its_document(built: Built) -> None:
    [row] = json.loads(builds.run_well("trace", built.out / "validation", "--row", "0", "--json"))
    aside = {one.document for one in built.rows(row["source"], "validation")}
    assert row["document"] in aside
    assert row["document"] in built.texts(row["source"])


def test_what_was_dropped_is_kept_aside_and_counted(built: Built) -> None:
    keeps = built.miniature.phase is miniature.EXTENSION
    assert (built.out / "dropped").exists() == keeps
    for name, source in built.sources.items():
        assert dict(built.dropped(name)) == (source["documents"]["dropped"] if keeps else {})
    if keeps:
        reasons = sum((built.dropped(name) for name in built.sources), Counter())
        assert reasons["length/too_short"] == 1
        # The first text of each file recurs in it; those of Arxiv also in another source.
        assert built.dropped("pes2o")["duplicate_text"] == 1
        assert reasons["duplicate_text"] > 5


@pytest.mark.parametrize(
    "built",
    [
        pytest.param(miniature.PRETRAINING, marks=pytest.mark.slow),
        pytest.param(miniature.EXTENSION, marks=pytest.mark.slow),
        miniature.DECAY,
    ],
    ids=lambda phase: phase.name,
    indirect=True,
)
def test_another_way_gives_the_same_bytes(built: Built) -> None:
    """One worker, other hashes, nothing pulled ahead or kept, another server of the Hub."""
    made = built.miniature
    # The same distance from the shipped mixtures, or else the mixture would name them otherwise.
    folder = made.folder.with_name("elsewhere")
    folder.mkdir()
    shutil.copy(made.folder / "here.yaml", folder)
    with miniature.serve_again(made.phase, made.there, page_size=1, xet=True) as hub:
        variables = {**miniature.at_home(hub, folder), "PYTHONHASHSEED": "7"}
        arguments = ("here.yaml", "--scale", made.phase.scale)
        builds.run_well("lock", *arguments, cwd=folder, **variables)
        # Nor is a tokenizer kept, where one decodes: what is pinned is fetched again.
        shutil.rmtree(folder / "home", ignore_errors=True)
        hub.push(miniature.MODEL, made.there / "other-llama")
        more = ("--out", "out", "--workers", "1", "--no-keep-raw")
        builds.run_well("build", *arguments, *more, cwd=folder, **variables)
    assert not (folder / "raw").exists()
    # With what both builds found out of files whose origin has no digest.
    lock = made.lock.relative_to(made.folder)
    assert (folder / lock).read_bytes() == made.lock.read_bytes()
    assert builds.differences(builds.digests(folder / "out"), builds.digests(built.out)) == []


def test_ids_are_decoded_by_the_tokenizer_that_was_newest_when_locked(built: Built) -> None:
    decoded = {
        name: source["decode"]
        for name, source in json.loads(built.miniature.lock.read_bytes())["sources"].items()
        if source["decode"] is not None
    }
    is_decay = built.miniature.phase is miniature.DECAY
    assert set(decoded) == ({"code_repos", "textbooks", "textbooks_2"} if is_decay else set())
    for tokenizer in decoded.values():
        assert tokenizer["name"] == miniature.MODEL
        assert tokenizer["revision"] == built.miniature.server.commit


# What no published phase shows


@pytest.mark.parametrize(
    "algorithm", [pytest.param("keyed-v1", marks=pytest.mark.slow), "ettin-partitions-v1"]
)
def test_of_files_far_larger_than_a_miniature_the_proportions_are_kept(
    algorithm: str, build_here: Build, tmp_path: Path
) -> None:
    """And what is drawn, fewer rows than a step has, is one step, with none left over."""
    asked = {"large": 3000, "small": 1000, "twice": 2000}
    for name, number in zip(asked, (400, 100, 60), strict=True):
        lines = builds.json_lines(builds.documents(name, number, 300))
        (tmp_path / f"{name}.jsonl").write_bytes(lines)
    sources = {
        name: {"from": {"path": f"{name}.jsonl"}, "tokens": f"{tokens}k"}
        for name, tokens in asked.items()
    }
    content = {
        "name": "far-larger",
        "scale": "1/1000",
        "chunk": {"size": 128},
        "sources": sources,
        "sample": {"algorithm": algorithm},
        "order": {"seed": 21, "global_batch_size": 4608, "max_seq_len": 128},
    }
    mixture = builds.write_mixture(tmp_path, yaml.safe_dump(content))
    manifest = json.loads((build_here(mixture, tmp_path / "out") / "manifest.json").read_bytes())
    for name, number in asked.items():
        budget = manifest["sources"][name]["budget"]
        assert budget["available"] > 3 * number
        assert budget["asked"] == number
        assert number <= budget["drawn"] < number + 128
    order, drawn = manifest["order"], list(manifest["sources"].values())
    assert order["num_rows"] == sum(source["chunks"]["drawn"] for source in drawn) < 4608
    assert order["num_steps"] == 1
    assert order["num_rows_dropped"] == order["num_tokens_dropped"] == 0
