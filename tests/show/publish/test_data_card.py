"""Whatever people write into names and texts, each file of a bundle stays what it is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.published import Place

from pipeline.config import About, AboutSource, load_about
from pipeline.config.about import Content, Provider
from pipeline.core.errors import ConfigError
from pipeline.show.publish.citation import citation
from pipeline.show.publish.croissant import croissant, validate_croissant
from pipeline.show.publish.data_card import data_card
from pipeline.show.publish.licence_files import licence_files
from pipeline.show.publish.training_summary import summary_json, summary_markdown, training_summary

HOSTILE = (
    "---",
    "a\n---\nb",
    "\n...\n--- !!python/object:os.system\n",
    "x: {y: [",
    '"]}, {"@id": "evil"',
    "<script>alert(1)</script>",
    "<!-- <img src=x onerror=y> -->",
    "[click](javascript:alert(1)) ![](http://e.vil/x.png)",
    "| a | b |\n| --- | --- |",
    "# heading\n\n## another\n\n* * *\n\n- item\n\n1. first\n\n> quote\n\n    code",
    "```\nfence\n```\n\n~~~\nfence",
    "Setext\n===\n\nSetext\n---",
    "`` ` ` \\` *a* _b_ **c** ~~d~~ $e$ &amp; &lt;b&gt;",
    "http://e.vil https://e.vil www.e.vil <http://e.vil>",
    "[a]: http://e.vil\n\n[a]",
    "\u202egnp.exe\u2066\u2028\x85\ufeff\x00\x07",
    "null",
    "2026-11-30",
    "!!binary x",
    "&anchor *alias %TAG",
)
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map(" ".join),
)
LINES = TEXTS.map(lambda text: " ".join(text.split()) or "x")
MARKDOWN = MarkdownIt("commonmark").enable("table")
QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def abouts(draw: st.DrawFn) -> About:
    """Return an about file of hostile texts; names, dates and addresses are checked as it loads."""

    def source(name: str) -> AboutSource:
        return AboutSource(
            name=name,
            kind=draw(st.sampled_from(["public", "crawled", "synthetic", None])),
            licence=draw(st.none() | LINES),
            description=draw(st.none() | TEXTS),
            crawler=draw(st.none() | TEXTS),
            generated_by=draw(st.none() | st.lists(LINES, min_size=1, max_size=2).map(tuple)),
        )

    return About(
        folder=Path(),
        title=draw(st.none() | LINES),
        description=draw(st.none() | TEXTS),
        authors=draw(st.none() | st.lists(LINES, min_size=1, max_size=3).map(tuple)),
        licence=draw(st.none() | LINES),
        tags=draw(st.none() | st.lists(LINES, max_size=3).map(tuple)),
        provider=Provider(name=draw(st.none() | LINES)),
        content=Content(types=draw(st.none() | TEXTS)),
        sources=tuple(source(name) for name in ("letters", "notes")),
    )


def tokens(text: str) -> list[tuple[str, str]]:
    """Return the kinds of all parts of a page of Markdown, with their elements."""
    found = []
    for block in MARKDOWN.parse(text):
        found.append((block.type, block.tag))
        found += [(part.type, part.tag) for part in block.children or ()]
    return found


def shape(text: str) -> list[tuple[str, str]]:
    """Return the headings, tables, links and elements of a page, but not its paragraphs."""
    kinds = ("heading_open", "tr_open", "link_open", "image", "html_block", "html_inline", "fence",
             "code_block", "code_inline", "hr", "blockquote_open", "ordered_list_open",
             "em_open", "strong_open")  # fmt: skip
    return [one for one in tokens(text) if one[0] in kinds]


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


@QUICK
@given(about=abouts(), category=LINES)
@example(
    about=About(folder=Path(), title="---", description="a\n---\nb", licence="\u2028"),
    category="|",
)
def test_texts_of_people_change_the_form_of_no_file(
    place: Place, tmp_path: Path, about: About, category: str
) -> None:
    sources = place.facts().manifest.mixture.declaration["sources"]
    declared = {**sources, "letters": {**sources["letters"], "category": category}}
    facts = place.facts(about, sources=declared)
    plain = place.facts(
        dataclasses.replace(about, title="t", description="d", sources=about.sources)
    )

    card = DatasetCard(data_card(facts))
    fields: dict[str, Any] = card.data.to_dict()
    assert fields["pretty_name"] == " ".join((about.title or "harbour").split())
    assert fields["size_categories"] == ["n<1K"]
    known = {"pretty_name", "license", "license_name", "license_link", "size_categories"}
    assert fields.keys() <= known | {"task_categories", "tags", "configs"}
    assert {*map(type, fields["tags"])} == {str}
    assert shape(body(data_card(facts))) == shape(body(data_card(plain)))

    content = json.loads(croissant(facts))
    assert content["name"] == facts.title
    (tmp_path / "croissant.json").write_text(croissant(facts))
    assert validate_croissant(tmp_path / "croissant.json") is None

    cited = yaml.safe_load(citation(facts))
    assert (cited["title"], cited["cff-version"]) == (facts.title, "1.2.0")
    names = about.authors or ("not known",)
    assert cited["authors"] == [{"name": name} for name in names]

    parts = training_summary(facts)
    assert len(json.loads(summary_json(parts))["parts"]) == len(parts)
    summary = shape(summary_markdown(parts, facts.title))
    assert [one for one in summary if one[0] == "heading_open"] == [
        ("heading_open", "h1"),
        *(("heading_open", "h3" if "." in part.number else "h2") for part in parts),
    ]
    assert {kind for kind, _ in summary} == {"heading_open", "strong_open"}

    files, _ = licence_files(facts)
    rows = [one for one in tokens(files["LICENSE.md"]) if one[0] == "tr_open"]
    assert len(rows) == 1 + len(facts.sources)
    assert not {"html_block", "html_inline", "image"} & {
        kind for kind, _ in tokens(files["LICENSE.md"])
    }


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_sizes_are_the_categories_of_the_hub(place: Place, rows: int, category: str) -> None:
    facts = place.facts()
    order = dataclasses.replace(facts.manifest.order, num_rows=rows)
    facts = dataclasses.replace(facts, manifest=dataclasses.replace(facts.manifest, order=order))
    assert DatasetCard(data_card(facts)).data.to_dict()["size_categories"] == [category]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        (
            "MIT OR Apache-2.0",
            {
                "license": "other",
                "license_name": "mit-or-apache-2.0",
                "license_link": "LICENSE.md",
            },
        ),
        ("★", {"license": "other", "license_name": "other", "license_link": "LICENSE.md"}),
    ],
)
def test_licences_are_named_as_the_hub_names_them(
    place: Place, licence: str, expected: dict[str, str]
) -> None:
    about = dataclasses.replace(place.facts().about, licence=licence)
    fields = DatasetCard(data_card(place.facts(about))).data.to_dict()
    assert {name: value for name, value in fields.items() if "license" in name} == expected


def test_a_text_that_no_file_can_hold_is_refused_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "about.yaml"
    path.write_text('title: "\\ud800"\n')
    with pytest.raises(ConfigError):
        load_about(path)
