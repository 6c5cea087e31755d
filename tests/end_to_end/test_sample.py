"""What ships: the sample mixture, its manifest, and the schema beside them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from pipeline import config
from pipeline.config import mixture_schema
from pipeline.core.bundled import manifest_path, mixture_path
from pipeline.dataset.manifest import read_manifest

ROOT = REPOSITORY


def test_every_shipped_mixture_loads_and_names_the_schema_beside_it() -> None:
    paths = sorted((ROOT / "mixtures").glob("*.yaml"))
    assert paths
    for path in paths:
        config.load_config(path)
        first = path.read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=mixture.schema.json"


def test_the_shipped_schema_is_the_one_that_the_tool_prints() -> None:
    shipped = json.loads((ROOT / "mixtures" / "mixture.schema.json").read_text())
    assert shipped == mixture_schema()


def test_the_shipped_manifest_is_of_the_shipped_mixture() -> None:
    manifest = read_manifest(manifest_path("sample"))
    assert manifest.mixture.fingerprint == config.load_mixture(mixture_path("sample")).fingerprint


def test_the_sample_has_what_it_promises() -> None:
    manifest = read_manifest(manifest_path("sample"))
    sources = manifest.sources
    assert len(sources) >= 5
    assert sum(source.documents.num_in for source in sources.values()) >= 300
    declared = manifest.mixture.declaration["sources"].values()
    assert any(isinstance(source["tokens"], int) for source in declared)
    assert any(source["epochs"] not in (None, "1") for source in declared)
    assert len(manifest.order.windows) > 1


def test_a_shipped_name_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "plan", "sample", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["sources"]) >= 5
