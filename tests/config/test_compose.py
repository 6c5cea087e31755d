"""A mixture composed of several files means what one flat file would, and says who is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given
from hypothesis import strategies as st
from support.paths import REPOSITORY
from support.strategies import QUICK

from pipeline.config.declaration import OrderSpec
from pipeline.config.load import load_config, load_mixture, load_replay
from pipeline.config.mixture import Mixture
from pipeline.config.replay import PoolSpec, Replay
from pipeline.core.errors import ConfigError

FLAT = """\
name: flat
description: All in one.
tokenizer: {name: t.json, add_prefix_space: true}
chunk: {algorithm: ettin-slice-v1, size: 1024, min_size: 512, skip_below: 128, seed: 42}
sources:
  arxiv:
    category: Scientific
    licence: ODC-BY
    from: {url: "https://host/arxiv-{0000..0099}.json.gz"}
    tokens: 4.1B
  code:
    category: Code
    from: {hub: org/code, files: ["a/**", "b/**"], id: null, decode: {tokenizer: org/t}}
    filters: [length]
    tokens: all
    expected: 20.2B
  wiki: {from: {path: wiki/*.gz}, epochs: 3/2}
sample: {seed: 42}
order: {seed: 21, global_batch_size: 4608, max_seq_len: 1024}
shards: {dtype: uint16}
"""


def write(folder: Path, **texts: str) -> Path:
    """Write files by stem, and return the path of the first."""
    paths = [folder / f"{stem}.yaml" for stem in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return paths[0]


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def same(composed: Mixture, flat: Mixture) -> bool:
    return (
        composed.declaration() == flat.declaration()
        and composed.fingerprint == flat.fingerprint
        and composed.description == flat.description
        and [one.licence for one in composed.sources] == [one.licence for one in flat.sources]
    )


# The meaning.


def parted(value: dict[str, Any], data: st.DataObject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two mappings of which the first, over the second, is `value`."""
    above: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for key, child in value.items():
        where = data.draw(st.sampled_from(["above", "below", "both"]))
        if where == "both" and isinstance(child, dict):
            above[key], below[key] = parted(child, data)
        elif where == "below":
            below[key] = child
        else:
            above[key] = child
            if where == "both":
                below[key] = data.draw(st.sampled_from(["another", 7, ["a", "b"]]))
    return above, below


@QUICK
@given(st.data())
def test_files_that_extend_each_other_are_one_flat_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("files")
    above, below = parted(yaml.safe_load(FLAT), data)
    middle, lowest = parted(below, data)
    (folder / "deep").mkdir()
    top = write(folder, top=json.dumps({"extends": "deep/middle.yaml", **above}))
    write(folder / "deep", middle=json.dumps({**middle, "extends": "../lowest.yaml"}))
    write(folder, lowest=json.dumps(lowest))
    flat = load_mixture(write(folder, flat=FLAT))
    assert same(load_mixture(top), flat)
    assert load_mixture(top).folder == folder


@QUICK
@given(st.data())
def test_what_sources_take_from_origins_is_one_flat_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("files")
    tree = yaml.safe_load(FLAT)
    sources, origins = {}, {}
    for name, source in tree["sources"].items():
        sources[name], said = parted(source, data)
        origin = data.draw(st.sampled_from([name, f"of {name}"]))
        origins[origin] = said
        if origin != name:
            sources[name]["origin"] = origin
        elif not sources[name] and data.draw(st.booleans()):
            sources[name] = None
    # Files are composed before origins are looked up.
    above, below = parted({**tree, "sources": sources, "origins": origins}, data)
    top = write(folder, top=json.dumps({**above, "extends": "base.yaml"}))
    write(folder, base=json.dumps(below))
    assert same(load_mixture(top), load_mixture(write(folder, flat=FLAT)))


def test_what_no_source_takes_may_leave_out_anything_but_not_be_wrong(tmp_path: Path) -> None:
    base = "extends: base.yaml\nsources: {a: {from: {path: b}}}\nchunk: {size: 64}\n"
    top = f"{base}name: a\norder: {{seed: 1, global_batch_size: 8, max_seq_len: 64}}\n"
    right = "origins:\n  x: {from: {id: null, decode: null}}\n  y: {tokens: 5M, epochs: 2}\n"
    path = write(tmp_path, top=top, base=right + "  z: {from: {decode: {clean_up: false}}}\n")
    assert [source.name for source in load_mixture(path).sources] == ["a"]
    wrong = "origins:\n  x: {from: {ids: null}}\n  y: {from: {decode: 5}}\n  z: {from: b}\n"
    write(tmp_path, base=wrong)
    told = [line.partition(", expected")[0] for line in problems(path)]
    assert told == [
        "base.yaml:2:14: origins.x.from.ids: got an unknown key",
        "base.yaml:3:22: origins.y.from.decode: got 5",
        'base.yaml:4:13: origins.z.from: got "b"',
    ]


def test_two_sources_may_share_an_origin(tmp_path: Path) -> None:
    text = """\
name: shared
chunk: {size: 64}
origins:
  web: {category: Crawl, from: {hub: org/web, files: "**"}, tokens: 5M}
sources:
  head: {origin: web, from: {files: "head/**"}}
  tail: {origin: web, category: Rest}
order: {seed: 1, global_batch_size: 8, max_seq_len: 64}
"""
    head, tail = load_mixture(write(tmp_path, shared=text)).sources
    assert (head.category, head.origin.files, head.tokens) == ("Crawl", ("head/**",), 5_000_000)
    assert (tail.category, tail.origin.files) == ("Rest", ("**",))


def test_overrides_come_after_composition(tmp_path: Path) -> None:
    base = FLAT.replace("order: {seed: 21, ", "order: {")
    top = write(tmp_path, top="extends: base.yaml\norder: {seed: 3}\n", base=base)
    assert load_mixture(top).order.seed == 3
    changed = load_mixture(top, ["order.seed=4", "sources.arxiv.tokens=1M"])
    assert (changed.order.seed, changed.sources[0].tokens) == (4, 1_000_000)
    assert problems(top, "sources.arxi.tokens=1M") == [
        "--set sources.arxi: got an unknown name, expected one of arxiv, code, wiki; did you mean "
        '"arxiv"?'
    ]
    for key in ("extends=base.yaml", "origins={}", "sources.wiki.origin=arxiv"):
        assert problems(top, key) == [
            f"--set {key.partition('=')[0]}: got it in an override, expected it in a file only"
        ]


# Who is wrong.


def test_a_wrong_value_is_told_with_the_file_and_line_that_wrote_it(tmp_path: Path) -> None:
    top = write(
        tmp_path,
        top="extends: base.yaml\nname: top\n" + 20 * "\n" + "order: {sed: 2}\n",
        base=FLAT.replace("seed: 42}", "seed: many}", 1) + "phase: a/b\n",
    )
    told = problems(top)
    assert [line.partition(": got")[0] for line in told] == [
        "top.yaml:23:9: order.sed",
        "base.yaml:4:86: chunk.seed",
        "base.yaml:21:8: phase",
    ]


def test_what_no_file_says_is_missing_in_the_first(tmp_path: Path) -> None:
    base = FLAT.replace("seed: 21, ", "")
    top = write(tmp_path, top="extends: base.yaml\norder: {epoch: 1}\n", base=base)
    assert problems(top) == [
        "top.yaml:2:8: order.seed: got nothing, expected an integer from 0 to 4,294,967,295"
    ]


def test_a_wrong_value_of_an_origin_is_told_of_the_source_where_it_was_written(
    tmp_path: Path,
) -> None:
    base = "origins:\n  a: {categry: x, from: {path: b}}\n  c: {tokens: 5m, from: {path: d}}\n"
    top = write(
        tmp_path,
        top="extends: base.yaml\n"
        "name: top\nchunk: {size: 64}\nsources: {a: }\n"
        "order: {seed: 1, global_batch_size: 8, max_seq_len: 64}\n",
        base=base,
    )
    told = [line.partition(", expected")[0] for line in problems(top)]
    assert told == [
        "base.yaml:2:7: sources.a.categry: got an unknown key",
        'base.yaml:3:15: origins.c.tokens: got "5m"',
    ]


NEEDED = "name: a\nchunk: {size: 64}\norder: {seed: 1, global_batch_size: 8, max_seq_len: 64}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "origins: {arxiv: {from: {path: a}}}\nsources: {x: {origin: arxv}}",
            '5:23: sources.x.origin: got "arxv", expected one of arxiv; did you mean "arxiv"?',
        ),
        (
            "origins: {a: {}}\nsources: {x: {origin: b}, y: {origin: aa}}",
            '5:23: sources.x.origin: got "b", expected one of a\n'
            'top.yaml:5:39: sources.y.origin: got "aa", expected one of a; did you mean "a"?',
        ),
        (
            "sources: {x: {origin: arxiv}}",
            '4:23: sources.x.origin: got "arxiv", expected a name under origins',
        ),
        (
            "origins: {y: {from: {path: a}}}\nsources: {x: {origin: [y]}}",
            "5:23: sources.x.origin: got a list, expected one of y",
        ),
        ("origins: [a]", "4:10: origins: got a list, expected a mapping of names"),
        (
            "origins: {a: b}",
            '4:14: origins.a: got "b", expected a mapping of what a source says',
        ),
        (
            "origins: {a: {from: {path: b}}, c: {origin: a}}\nsources: {c: }",
            "4:37: origins.c.origin: got an origin of an origin, expected what it says itself",
        ),
        (
            "extends: none.yaml",
            '4:10: extends: got "none.yaml" (No such file or directory), expected the path of '
            "another YAML file, relative to this one",
        ),
        (
            "extends: top.yaml",
            '4:10: extends: got "top.yaml", which extends itself, expected no cycle',
        ),
        (
            "extends: circle.yaml",
            'circle.yaml:1:10: extends: got "top.yaml", which extends itself, expected no cycle',
        ),
        (
            "extends: [none.yaml]",
            '4:11: extends[0]: got "none.yaml" (No such file or directory), expected the path of '
            "another YAML file, relative to this one",
        ),
        ("extends: list.yaml", "list.yaml:1:1: got a list, expected a mapping to extend"),
        (
            "extends: broken.yaml",
            "broken.yaml:1:5: got text that is not YAML (mapping values are not allowed here), "
            "expected YAML",
        ),
    ],
)
def test_what_cannot_be_composed_is_told_clearly(tmp_path: Path, text: str, told: str) -> None:
    top = write(
        tmp_path, top=NEEDED + text, circle="extends: top.yaml", list="[a]", broken="a: b: c"
    )
    first = told.split("\n")[0]
    assert problems(top) == (told if "yaml:" in first else f"top.yaml:{told}").split("\n")


@pytest.mark.parametrize("name", ["/etc/a.yaml", "~/a.yaml", "C:\\a.yaml", "a.txt", "", "../a"])
def test_only_mixture_files_by_relative_paths_can_be_extended(tmp_path: Path, name: str) -> None:
    top = write(tmp_path, top=f"{NEEDED}extends: {json.dumps(name)}")
    assert problems(top) == [
        f"top.yaml:4:10: extends: got {json.dumps(name)}, expected the path of another YAML "
        "file, relative to this one"
    ]


# Pools to replay.

POOL = """\
name: again
pool: {hub: org/pool}
order: {seed: 21, global_batch_size: 4608, max_seq_len: 1024, algorithm: ettin-pcg64dxsm-v1}
shards: {dtype: uint16}
"""


PUBLISHED_ALGORITHM = "order.algorithm=ettin-pcg64dxsm-v1"


def test_a_file_with_a_pool_is_a_replay(tmp_path: Path) -> None:
    declared = load_config(write(tmp_path, a=POOL), ["phase=ext"])
    assert isinstance(declared, Replay)
    assert declared.pool == PoolSpec(hub="org/pool", revision=None, folder="train", path=None)
    assert (declared.name, declared.phase, declared.folder) == ("again", "ext", tmp_path)
    assert declared.overrides == ("phase=ext",)


def test_where_the_pool_lies_is_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    """Its index is, once it is read; and a replay without a file is the same declaration."""
    published = load_replay([PUBLISHED_ALGORITHM])
    assert load_config(write(tmp_path, a=POOL)).fingerprint == published.fingerprint
    local = POOL.replace("{hub: org/pool}", "{path: pool}").replace("again", "other")
    assert load_config(write(tmp_path, b=local)).fingerprint == published.fingerprint
    assert load_replay(["order.seed=22"]).fingerprint != load_replay().fingerprint


def test_the_fingerprint_of_the_published_order_is_frozen() -> None:
    frozen = "1921307eaf25c41b3f8e1b1e4324261266b588784be56c41fecc14aa3fb87a63"
    assert load_replay([PUBLISHED_ALGORITHM]).fingerprint == frozen


def test_a_pool_is_ordered_by_the_default_algorithm_of_mixtures() -> None:
    given = OrderSpec(seed=1, global_batch_size=1, max_seq_len=16)
    assert load_replay().order.algorithm == given.algorithm == "feistel-v1"


def test_a_replay_extends_what_mixtures_extend(tmp_path: Path) -> None:
    top = write(
        tmp_path,
        top="extends: base.yaml\npool: {path: pool}\norder: {max_seq_len: 7999}\n",
        base=POOL.replace("pool: {hub: org/pool}\n", "") + "origins: {a: {from: {path: b}}}\n",
    )
    declared = load_config(top)
    assert isinstance(declared, Replay)
    assert (declared.order.max_seq_len, declared.order.seed) == (7999, 21)


def test_a_pool_is_no_mixture_to_build(tmp_path: Path) -> None:
    path = write(tmp_path, a=POOL)
    with pytest.raises(ConfigError, match=r"pool: got a pool to replay, expected a mixture") as e:
        load_mixture(path)
    assert e.value.hint is not None


def test_a_file_with_a_pool_needs_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, a=POOL.replace("name: again\n", ""))
    assert problems(path) == [
        "a.yaml:1:1: name: got nothing, expected a name (letters, digits, . _ -; at most 100; "
        "first a letter or digit; no ..)"
    ]


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ("{}", "2:7: pool.hub: got nothing, expected hub (a Hub id org/name) or path (a folder)"),
        ("org/pool", '2:7: pool: got "org/pool", expected a mapping with one of hub, path'),
        (
            "{hub: a/b, path: c}",
            "2:24: pool.path: got hub and path, expected only one of them",
        ),
        (
            "{path: c, revision: main}",
            "2:27: pool.revision: got revision without hub, expected it with hub only",
        ),
        (
            "{path: c, folder: train}",
            "2:25: pool.folder: got folder without hub, expected it with hub only",
        ),
    ],
)
def test_a_wrong_pool_is_refused(tmp_path: Path, pool: str, told: str) -> None:
    assert problems(write(tmp_path, a=POOL.replace("{hub: org/pool}", pool))) == [f"a.yaml:{told}"]


def test_the_example_in_the_documentation_is_what_it_says(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "guide" / "custom-mixture.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    shared, first, second = (
        block
        for block in blocks
        if "origins:" in block or "name: first" in block or "first.yaml" in block
    )
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", texts=shared)
    write(tmp_path, first=first)
    loaded = load_mixture(write(tmp_path, second=second))
    assert [(one.name, one.category, one.tokens) for one in loaded.sources] == [
        ("arxiv", "Scientific", 4_100_000_000),
        ("head", "Crawl", 40_000_000_000),
        ("tail", "Crawl", 10_000_000_000),
    ]
    assert loaded.sources[1].origin.files == ("head/**/*.parquet",)
    mine = next(block for block in blocks if block.startswith("name: mine"))
    assert load_mixture(write(tmp_path, mine=mine)).sources[0].tokens == 5_000_000
