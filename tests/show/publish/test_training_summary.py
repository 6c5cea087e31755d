"""The public summary: every part of the template, filled or "not known", never a wrong "no"."""

import dataclasses
import json

import pytest
from support.published import Place

from pipeline.show.publish.training_summary import (
    Part,
    summary_json,
    summary_markdown,
    training_summary,
)

PARTS = [
    *("1", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6"),
    *("3", "3.1", "3.2", "3.3"),
]


def values(parts: tuple[Part, ...]) -> dict[str, object]:
    return {f"{part.number} {one.key}": one.value for part in parts for one in part.fields}


def test_every_part_is_there_with_fields(place: Place) -> None:
    parts = training_summary(place.facts())
    assert [part.number for part in parts] == PARTS
    assert [part.number for part in parts if not part.fields] == ["1", "2", "3"]
    stored = json.loads(summary_json(parts))
    assert [part["number"] for part in stored["parts"]] == PARTS
    text = summary_markdown(parts, "x")
    assert [line.split()[1].rstrip(".") for line in text.splitlines() if line[:2] == "##"] == PARTS
    for part in parts:
        for one in part.fields:
            assert f"**{one.label}.**" in text
    keys = [f"{part.number}/{one.key}" for part in parts for one in part.fields]
    assert len(keys) == len({*keys})


def test_it_says_what_is_known(place: Place) -> None:
    said = values(training_summary(place.facts()))
    assert said["1.1 provider"] == "Example Institute"
    assert said["1.1 representative"] is None
    assert str(said["1.3 size"]).startswith("less than 1 billion tokens (")
    assert said["1.3 content_types"] == ("prose",)
    assert said["1.3 languages"] == ("en", "ja")
    assert said["2.1 public"] == "yes"
    [letters] = said["2.1 public.data_sets"]  # type: ignore[misc]
    assert letters.startswith("letters: local files letters.jsonl; https://example.org/letters;")
    assert "licence MIT; " in letters
    assert (said["2.2 licensed"], said["2.2 private"]) == ("yes", "no")
    assert (said["2.3 crawled"], said["2.3 crawled.domains"]) == ("no", "none")
    assert said["2.5 synthetic.generated_by"] == ("notes: a grammar",)
    assert said["2.6 of_unknown_kind"] == "none"
    dropped = place.facts().sources[0].dropped
    assert dropped
    assert said["3.3 dropped"] == (
        "letters: " + ", ".join(f"{number:,} by {reason}" for reason, number in dropped.items()),
    )


def test_nothing_is_denied_while_a_kind_is_not_stated(place: Place) -> None:
    about = place.facts().about
    letters, *others = about.sources
    unknown = dataclasses.replace(letters, kind=None)
    about = dataclasses.replace(about, sources=(unknown, *others))
    said = values(training_summary(place.facts(about)))
    assert "no" not in said.values()
    assert said["2.1 public"] is None
    assert said["2.1 public.data_sets"] is None
    assert said["2.5 synthetic"] == "yes"
    [line] = said["2.6 of_unknown_kind"]  # type: ignore[misc]
    assert line.startswith("letters: ")
    assert "not known" in summary_markdown(training_summary(place.facts(about)), "x")


@pytest.mark.parametrize(
    ("num_tokens", "size"),
    [
        (999_999_999, "less than 1 billion tokens"),
        (10**9, "1 billion to 10 trillion tokens"),
        (10**13 - 1, "1 billion to 10 trillion tokens"),
        (10**13, "more than 10 trillion tokens"),
    ],
)
def test_sizes_are_the_ranges_of_the_template(place: Place, num_tokens: int, size: str) -> None:
    facts = place.facts()
    order = dataclasses.replace(facts.manifest.order, num_tokens=num_tokens)
    manifest = dataclasses.replace(facts.manifest, order=order)
    said = values(training_summary(dataclasses.replace(facts, manifest=manifest)))
    assert str(said["1.3 size"]).startswith(f"{size} (")
