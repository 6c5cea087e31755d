"""Facts: those that ship are read, and those that contradict each other are named."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import published_suite as suite
from support.paths import REPOSITORY, SHARED

from pipeline.audit.attest import load_facts
from pipeline.audit.attest.row_size import id_bytes_of, is_id_length, mean_id_bytes
from pipeline.core.errors import InputError

BOOKS = f"train/books/books_0001{suite.SUFFIX}"
PUBLISHED = SHARED / "facts" / "published.json"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[suite.Fact]:
    return suite.write_suite(tmp_path_factory.mktemp("made") / "suite")


def again(path: str, kind: str, **value: Any) -> Callable[[list[suite.Fact]], suite.Fact]:
    """Say a fact again, of another page, with other values."""

    def tell(facts: list[suite.Fact]) -> suite.Fact:
        [fact] = [one for one in facts if (one["path"], one["kind"]) == (path, kind)]
        other = copy.deepcopy(fact)
        other["value"].update(value)
        return other | {"source": "https://example.org/another"}

    return tell


def listed(name: str, shown: str) -> Callable[[list[suite.Fact]], suite.Fact]:
    return lambda facts: suite.fact_of(BOOKS, "listing", {"files": {name: shown}})


CONTRADICTIONS = {
    "digests": (
        again(f"{BOOKS}/shard.00000.mds", "sha256", sha256="0" * 64),
        f"{BOOKS}/shard.00000.mds: sha256: https://example.org/{BOOKS}/shard.00000.mds says",
    ),
    "counts": (
        again(f"{BOOKS}/num_tokens.json", "num_tokens", num_truncated_tokens=7),
        f"{BOOKS}/num_tokens.json: num_tokens: ",
    ),
    "shards of indexes": (
        again(f"{BOOKS}/index.json", "index", shards=[{"basename": "shard.00000.mds",
                                                       "samples": 1}]),
        f"{BOOKS}/index.json: index: ",
    ),
    "a listed size of a shard": (
        listed("shard.00000.mds", "65.9 kB"), f"{BOOKS}/shard.00000.mds: size: "
    ),
    "two listed sizes": (listed("num_tokens.json", "99 Bytes"), f"{BOOKS}/num_tokens.json: size: "),
    "a size in an index": (
        lambda facts: suite.fact_of(f"{BOOKS}/shard.00001.mds", "size", {"size": "1.00 kB"}),
        f"{BOOKS}/shard.00001.mds: size: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_facts_that_contradict_each_other_take_a_line(
    name: str, known: list[suite.Fact], tmp_path: Path
) -> None:
    tell, says = CONTRADICTIONS[name]
    assert load_facts(suite.write_facts(tmp_path / "right", known))
    with pytest.raises(InputError, match="got facts that contradict each other") as raised:
        load_facts(suite.write_facts(tmp_path / "wrong", [*known, tell(known)]))
    assert f"other: {suite.REPO}/{says}" in raised.value.message
    assert "\n" not in raised.value.message
    # Also where they are in two files.
    told = suite.write_facts(tmp_path / "two", [tell(known)])
    (told / f"{suite.REPO.replace('/', '--')}.json").rename(told / "a.json")
    with pytest.raises(InputError, match="got facts that contradict each other"):
        load_facts(suite.write_facts(told, known))


def test_counted_ids_must_fit_the_bytes_and_rows_of_an_index(
    known: list[suite.Fact], tmp_path: Path
) -> None:
    facts = copy.deepcopy(known)
    [fact] = [one for one in facts if one["path"] == f"{BOOKS}/num_tokens.json"]
    # Two bytes an id: a byte and a half less for the id of each document.
    fact["value"]["num_tokens"] += int(0.75 * 90)
    load_facts(suite.write_facts(tmp_path / "right", known))
    with pytest.raises(InputError, match=r"leaves 38\.\d bytes for the id of a doc"):
        load_facts(suite.write_facts(tmp_path / "wrong", facts))


@pytest.mark.parametrize(
    ("path", "bounds"),
    [
        ("train/pes2o/pes2o_0005-tokenized/num_tokens.json", (7, 10)),
        ("validation/mlfoundations-dclm-baseline-1.0-parquet-sampled-v2/split_7/a", (46, 49)),
        ("train/books/books_0001/a", (40, 40)),
        ("train/cc_en_head/cc_en_head_0001/a", (1, 300)),
        # The ids of another set of the same name are not known.
        ("train/booksellers/a", (1, 300)),
    ],
)
def test_each_source_has_bounds_for_its_ids(path: str, bounds: tuple[int, int]) -> None:
    assert id_bytes_of(path) == bounds


def test_a_row_takes_what_the_format_says() -> None:
    rows = [("a" * 40, [7] * 300), ("b" * 40, [7] * 1026)]
    num_bytes = 214 + sum(4 + len(suite.encode_row(*row)) for row in rows)
    mean = mean_id_bytes(num_bytes, 1, 2, 2 * 1326)
    assert mean == 40
    assert is_id_length(mean, (40, 40))
    assert not is_id_length(mean + 1, (40, 40))
    assert not is_id_length(mean - 1.1, (40, 40))


def test_facts_that_ship_are_those_of_the_list() -> None:
    facts = load_facts()
    assert sum(map(len, facts.values())) == 526
    assert all(
        one.source.startswith(("https://", "github:")) for own in facts.values() for one in own
    )


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"the list of facts is not at {PUBLISHED}")
def test_the_script_makes_the_files_that_ship() -> None:
    script = _script()
    made = script.by_repository(json.loads(PUBLISHED.read_bytes()))
    for repo, content in made.items():
        path = REPOSITORY / "manifests" / "published" / f"{repo.replace('/', '--')}.json"
        assert path.read_text() == content
    assert len(made) == len(list((REPOSITORY / "manifests" / "published").iterdir()))


def test_the_script_refuses_facts_that_contradict_each_other(
    known: list[suite.Fact],
) -> None:
    facts = copy.deepcopy(known)
    other = copy.deepcopy(next(one for one in facts if one["kind"] == "sha256"))
    other["value"]["sha256"], other["source"] = "0" * 64, "https://example.org/another"
    with pytest.raises(SystemExit, match="another says"):
        _script().by_repository([*facts, other])


def test_damaged_facts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"repo": "a/b", "facts": [{"path": 1}]}')
    with pytest.raises(InputError, match=r"a\.json: got something else than published facts"):
        load_facts(tmp_path)
    value = {"num_tokens": 1}
    suite.write_facts(tmp_path, [suite.fact_of("a/num_tokens.json", "num_tokens", value, repo="a")])
    with pytest.raises(InputError, match="published facts \\('num_truncated_tokens'\\)"):
        load_facts(tmp_path)


def _script() -> Any:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("importing", REPOSITORY / "manifests" / "import_published.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
