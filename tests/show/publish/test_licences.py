"""Licences: expressions of SPDX, their texts, their names on the Hub."""

import re

import pytest
from support.paths import REPOSITORY

from pipeline.show.publish.licences import licence_text, parse_licence


@pytest.mark.parametrize(
    ("stated", "spdx", "identifiers", "hub_name"),
    [
        ("MIT", "MIT", ("MIT",), "mit"),
        ("cc-by-4.0", "CC-BY-4.0", ("CC-BY-4.0",), "cc-by-4.0"),
        ("ODC-BY", "ODC-By-1.0", ("ODC-By-1.0",), "odc-by"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later", ("GPL-3.0-or-later",), "gpl-3.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0", ("Apache-2.0", "MIT"), None),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            ("Classpath-exception-2.0", "GPL-2.0-only"),
            None,
        ),
        ("LicenseRef-harbour", "LicenseRef-harbour", (), None),
        ("terms of the harbour", None, (), None),
        ("MIT AND", None, (), None),
    ],
)
def test_a_licence_is_read_as_it_was_meant(
    stated: str, spdx: str | None, identifiers: tuple[str, ...], hub_name: str | None
) -> None:
    licence = parse_licence(stated)
    assert (licence.spdx, licence.identifiers, licence.hub_name) == (spdx, identifiers, hub_name)
    assert licence.name == spdx or licence.name == stated


def test_every_licence_of_a_shipped_mixture_has_a_text_and_a_name_on_the_hub() -> None:
    stated = {
        one
        for path in REPOSITORY.glob("mixtures/**/*.yaml")
        for one in re.findall(r"licence: ([\w.-]+)", path.read_text())
    }
    assert {"ODC-BY", "CC-BY-4.0", "MIT"} <= stated
    for one in stated:
        licence = parse_licence(one)
        assert licence.hub_name is not None
        assert [len(licence_text(name) or "") > 500 for name in licence.identifiers] == [True]


def test_texts_are_those_of_the_list() -> None:
    assert "Permission is hereby granted, free of charge" in (licence_text("MIT") or "")
    assert "linking this library" in (licence_text("Classpath-exception-2.0") or "").lower()
    assert licence_text("LicenseRef-harbour") is None
