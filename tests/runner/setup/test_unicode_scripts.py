"""Which scripts the letters of texts are of."""

import pytest

from pipeline.runner.setup.unicode_scripts import describe_scripts, script_shares


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["The boat, 1861!", "Ünder"], "mostly Latin script"),
        (["Лодка ушла"], "mostly Cyrillic script"),
        (["船は霧の前に出た"], "scripts: Han 50%, Japanese kana 50%"),
        (["abcd", "где"], "scripts: Latin 57%, Cyrillic 43%"),
        (["123 – !", ""], "no letters"),
        ([], "no letters"),
    ],
)
def test_scripts_are_named_by_their_share(texts: list[str], words: str) -> None:
    shares = script_shares(texts)
    assert describe_scripts(shares) == words
    assert not shares or abs(sum(shares.values()) - 1) < 1e-9
