"""`CITATION.cff` and what the guide says to cite are of this version."""

import tomllib

import yaml
from support.paths import REPOSITORY

from pipeline.version import VERSION


def test_the_citation_file_is_of_this_version_and_has_what_its_schema_needs() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (VERSION, project["license"])
    assert cited["authors"] == [{"name": "The ettin-data developers"}]


def test_the_guide_cites_this_version_and_the_paper_that_exports_cite() -> None:
    page = (REPOSITORY / "docs" / "guide" / "paper.md").read_text()
    assert f"version = {{{VERSION}}}" in page
    exported = (REPOSITORY / "pipeline" / "train" / "export.py").read_text()
    begin = exported.index("@misc{")
    assert exported[begin : exported.index('"""', begin)] in page
