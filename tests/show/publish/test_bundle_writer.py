"""A bundle: what is in it, that it depends on its inputs alone, and what is refused."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard
from support import builds
from support.published import Place

from pipeline import dataset
from pipeline.config import load_about, load_config
from pipeline.core.errors import ConfigError, MismatchError, OutputError
from pipeline.show import Shown
from pipeline.show.publish.bundle_folder import scratch_beside
from pipeline.show.publish.bundle_record import read_record, write_record
from pipeline.show.publish.bundle_writer import check_packages
from pipeline.show.publish.licence_files import licence_files
from pipeline.show.report import report_content


@pytest.fixture
def copy(place: Place, tmp_path: Path) -> Place:
    """A place of its own, to be damaged."""
    shutil.copytree(place.folder, tmp_path / "copy")
    return Place(folder=tmp_path / "copy")


def test_everything_is_in_it_and_the_same_each_time(place: Place, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere" / "again"
    done = place.bundle("--rows", out=again)
    assert done.returncode == 0, done.stderr
    assert builds.digests(again) == builds.digests(place.with_rows)
    names = {*builds.digests(again)}
    assert names >= {
        *("README.md", "croissant.json", "CITATION.cff", "report.html", "mixture.yaml"),
        *("manifest.json", "ledger.json", "bundle.json", "order/steps.parquet", "LICENSE.md"),
        *("LICENSES/MIT.txt", "LICENSES/ODC-By-1.0.txt", "LICENSES/sources/tides.txt"),
        *("training-summary.md", "training-summary.json"),
    }
    rows = [name for name in names if name.startswith("order/checkpoint")]
    assert len(rows) >= 2
    assert not list(again.parent.glob(".*partial*"))


def test_a_bundle_shares_no_file_with_the_output(place: Place) -> None:
    files = [path for path in place.with_rows.rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in files} == {1}


def test_the_metadata_says_what_manifest_mixture_and_about_file_say(place: Place) -> None:
    folder = place.with_rows
    card = DatasetCard((folder / "README.md").read_text())
    assert card.data.to_dict() == {
        "pretty_name": "Letters of a harbour",
        "license": "other",
        "license_name": "several",
        "license_link": "LICENSE.md",
        "size_categories": ["n<1K"],
        "task_categories": ["fill-mask", "text-generation"],
        "tags": ["croissant", "ettin-data", "pretraining", "sea", "tokenized"],
        "language": ["en", "ja"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "order/*/*.parquet"}],
            }
        ],
    }
    cited = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert [one["name"] for one in cited["authors"]] == ["Anna Example", "Jonas Example"]
    assert (cited["version"], cited["date-released"]) == ("1.2.0", "2026-11-30")
    manifest = json.loads((place.out / "manifest.json").read_text())
    assert cited["identifiers"][0]["value"] == f"sha256:{manifest['digest']}"
    assert json.loads((folder / "ledger.json").read_text()) == manifest["order"]["ledger"]
    found = load_config(folder / "mixture.yaml").fingerprint
    assert found == manifest["mixture"]["fingerprint"]
    croissant = json.loads((folder / "croissant.json").read_text())
    listed = {one["@id"]: one.get("sha256") for one in croissant["distribution"]}
    row_files = {
        path: one["sha256"]
        for path, one in manifest["files"].items()
        if path.startswith("order/checkpoint")
    }
    assert listed == {**row_files, "row-files": None}
    [letters, notes, tides] = croissant["prov:wasDerivedFrom"]
    assert letters["license"] == "https://spdx.org/licenses/MIT.html"
    assert letters["url"] == "https://example.org/letters"
    assert notes["license"] == "https://spdx.org/licenses/ODC-By-1.0.html"
    assert tides["license"] == "terms of the harbour"
    assert (folder / "LICENSES/sources/tides.txt").read_text() == "Do as you like.\n"
    table = (folder / "LICENSE.md").read_text()
    assert "| notes | ODC-By-1.0 | ODC-BY | the mixture | [ODC-By-1.0]" in table
    assert "| tides | not known | terms of the harbour | the about file | [text]" in table


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_reads_every_row_in_order(place: Place) -> None:
    import mlcroissant

    data = mlcroissant.Dataset(jsonld=str(place.with_rows / "croissant.json"))
    found = list(data.records("rows"))
    rows = dataset.open(str(place.out)).rows
    assert len(found) == rows.num_rows > 8
    expected = rows.take(np.arange(rows.num_rows))
    for one, ids in zip(found, expected, strict=True):
        assert [int(id_) for id_ in one["rows/input_ids"]] == ids.tolist()


def test_the_card_leads_the_library_of_data_sets_to_the_rows_in_order(
    place: Place, tmp_path: Path
) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(place.with_rows), split="train", cache_dir=str(tmp_path))
    rows = dataset.open(str(place.out)).rows
    expected = [ids.tolist() for ids in rows.take(np.arange(rows.num_rows))]
    assert loaded["input_ids"] == expected


def test_what_is_not_known_is_said_so_and_listed(place: Place, tmp_path: Path) -> None:
    bare = ("bundle", place.out, "--out", tmp_path / "bare", "--lock", place.lock)
    done = builds.run(*bare, "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert {"title", "authors", "licence", "sources.letters.kind", "sources.letters.licence"} <= {
        *told["not_known"]
    }
    assert "not known, and said so in the bundle: title, description, authors, " in done.stderr
    card = DatasetCard((tmp_path / "bare" / "README.md").read_text())
    assert card.data.to_dict()["license"] == "unknown"
    assert "configs" not in card.data.to_dict()
    cited = yaml.safe_load((tmp_path / "bare" / "CITATION.cff").read_text())
    assert cited["authors"] == [{"name": "not known"}]
    record = read_record(tmp_path / "bare")
    assert [name for name in record.files if name.startswith("order/")] == ["order/steps.parquet"]
    assert "The rows are not here" in (tmp_path / "bare" / "README.md").read_text()
    # Checked without rows, and replaced by a bundle, but by nothing else.
    assert builds.run("bundle", "--check", tmp_path / "bare").returncode == 0
    assert place.bundle(out=tmp_path / "bare").returncode == 0


def refused(place: Place, *options: str | Path, out: Path | None = None) -> str:
    """Return the error of a bundle, of which nothing may be left."""
    target = place.folder / "refused" if out is None else out
    before = builds.digests(target) if target.is_dir() else None
    done = place.bundle(*options, out=target)
    assert done.returncode in (1, 2), done.stderr
    assert (builds.digests(target) if target.is_dir() else None) == before
    assert not list(target.parent.glob(".*partial*"))
    [line] = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
    return line


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_an_output_that_is_damaged_or_not_finished_is_refused(copy: Place) -> None:
    rows = next(copy.out.glob("order/checkpoint_000001/*.parquet"))
    name = rows.relative_to(copy.out)
    good = rows.read_bytes()
    change_byte(rows)
    assert f"{copy.out}: {name}: sha256 is" in refused(copy)
    with rows.open("ab") as file:
        file.write(b"x")
    assert "bytes, manifest says" in refused(copy)
    rows.unlink()
    assert f"{name}: is missing" in refused(copy)
    rows.write_bytes(good)
    # What the rows were made from is named by the manifest, too.
    pool = min((copy.out / "train").rglob("*.mds"))
    change_byte(pool)
    assert f"{pool.relative_to(copy.out)}: sha256 is" in refused(copy)
    manifest = copy.out / "manifest.json"
    change_byte(manifest)
    assert "is damaged" in refused(copy)
    manifest.unlink()
    assert "manifest.json: cannot be read" in refused(copy)


def test_damage_after_the_check_is_found_as_files_are_copied(
    place: Place, copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = report_content(Shown.open(place.out), lambda *progress: None)
    monkeypatch.setattr(
        "pipeline.show.publish.bundle_writer.report_content", lambda *arguments: content
    )
    monkeypatch.setattr("pipeline.show.publish.bundle_writer.verify", lambda *_, **__: [])
    rows = next(copy.out.glob("order/checkpoint_000001/*.parquet"))
    change_byte(rows)
    line = refused(copy, "--rows")
    assert f"{rows}: sha256 is" in line
    assert "the manifest says" in line


def test_partitions_that_were_built_alone_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "partial.json").write_text("{}")
    done = builds.run("bundle", tmp_path, "--out", tmp_path.parent / "none")
    assert done.returncode == 1
    assert "got partitions that were built alone" in done.stderr


def test_a_folder_in_which_a_build_goes_on_is_refused(copy: Place) -> None:
    (copy.out / ".ettin").mkdir()
    assert "a build is not finished in it" in refused(copy)


def test_folders_that_hold_something_else_are_left_alone(copy: Place) -> None:
    other = copy.folder / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert "got a folder with other files" in refused(copy, out=other)
    assert "expected a folder beside it" in refused(copy, out=copy.out / "bundle")
    assert "got a file, expected a folder" in refused(copy, out=copy.mixture)
    assert "got the address s3://a/b" in refused(copy, "--sign", "s3://a/b")


def test_what_is_beside_an_earlier_bundle_is_left_alone(copy: Place) -> None:
    bundle = copy.with_rows
    (bundle / ".gitattributes").write_text("x")
    (bundle / ".cache/huggingface/download").mkdir(parents=True)
    (bundle / ".cache/huggingface/download/README.md.metadata").write_text("x")
    (bundle / "MY_NOTES").write_text("mine")
    assert "got MY_NOTES beside a bundle" in refused(copy, out=bundle)
    (bundle / ".git").mkdir()
    (bundle / ".git" / "config").write_text("mine")
    assert "got .git/config and 1 more beside a bundle" in refused(copy, out=bundle)
    (bundle / "MY_NOTES").unlink()
    shutil.rmtree(bundle / ".git")
    link = copy.folder / "link"
    link.symlink_to(bundle)
    line = refused(copy, out=link)
    assert f"{link}: got a link to {bundle}, expected a folder" in line
    record = (bundle / "bundle.json").read_bytes()
    (bundle / "bundle.json").write_bytes(record.replace(b"LICENSE.md", b"LICENCE.md"))
    assert "got a bundle whose record cannot be read" in refused(copy, out=bundle)
    (bundle / "bundle.json").write_bytes(record)
    assert copy.bundle(out=bundle).returncode == 0
    assert not (bundle / ".gitattributes").exists()


def test_what_somebody_puts_there_meanwhile_is_left_alone(
    copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: Any) -> None:
        write_record(*arguments)
        (copy.with_rows / "MY_NOTES").write_text("mine")

    monkeypatch.setattr("pipeline.show.publish.bundle_writer.write_record", write)
    done = copy.bundle(out=copy.with_rows)
    assert "got MY_NOTES beside a bundle" in done.stderr
    assert (copy.with_rows / "MY_NOTES").read_text() == "mine"


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    left = tmp_path / ".bundle.partial" / "bundle" / "order"
    left.mkdir(parents=True)
    (left / "half.parquet").write_text("half")
    with scratch_beside(out) as scratch:
        assert list(scratch.iterdir()) == []
        (scratch / "bundle").mkdir()
        with pytest.raises(OutputError, match="another run may write it"), scratch_beside(out):
            pass
        assert (scratch / "bundle").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_as_it_was_given() -> None:
    with (
        pytest.raises(OutputError, match=r"^/proc/none: cannot be written: No such file"),
        scratch_beside(Path("/proc/none")),
    ):
        pass


def test_files_of_another_data_set_are_refused(copy: Place) -> None:
    copy.mixture.write_text(copy.mixture.read_text().replace("seed: 21", "seed: 22"))
    assert "--mixture: got a mixture of fingerprint" in refused(copy)
    copy.mixture.write_text(copy.mixture.read_text().replace("seed: 22", "seed: 21"))
    (copy.folder / "tides.jsonl").write_text('{"id": "1", "text": "ebb"}\n')
    other = copy.folder / "other.lock.json"
    builds.run_well("lock", copy.mixture, "--lock", other)
    assert "other.lock.json has digest" in refused(copy, "--lock", other)
    copy.about.write_text("sources: {lettres: {kind: public}}")
    line = refused(copy)
    assert "sources.lettres: got a source that the output does not have" in line
    copy.about.write_text("sources: {tides: {licence_text: gone.txt}}")
    assert "sources.tides.licence_text" in refused(copy)


def test_a_licence_text_is_taken_from_the_folder_of_the_about_file_alone(copy: Place) -> None:
    folder = copy.folder / "about"
    folder.mkdir()
    about = (copy.about).read_text()
    (copy.folder / "private.txt").write_text("secret")
    (folder / "link.txt").symlink_to("../private.txt")
    (folder / "texts").mkdir()
    (folder / "texts" / "terms.txt").write_text("Do as you like.\n")
    for text in ("../private.txt", copy.folder / "private.txt", "link.txt", "texts/../../x"):
        (folder / "about.yaml").write_text(about.replace("terms.txt", str(text)))
        with pytest.raises(ConfigError, match="leads out of the about file's folder"):
            licence_files(copy.facts(load_about(folder / "about.yaml")))
    (folder / "about.yaml").write_text(about.replace("terms.txt", "texts/terms.txt"))
    files, _ = licence_files(copy.facts(load_about(folder / "about.yaml")))
    assert files["LICENSES/sources/tides.txt"] == "Do as you like.\n"


def test_a_build_from_a_lock_needs_it_and_brings_it(place: Place, tmp_path: Path) -> None:
    assert (place.with_rows / "lock.json").read_bytes() == place.lock.read_bytes()
    done = builds.run("bundle", place.out, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--lock: got no manifests/harbour.lock.json, expected the lock of" in done.stderr
    # By default it is looked for where `lock` writes it.
    (tmp_path / "manifests").mkdir()
    shutil.copy(place.lock, tmp_path / "manifests" / "harbour.lock.json")
    builds.run_well("bundle", place.out, "--out", tmp_path / "out", cwd=tmp_path)


def test_the_lock_of_a_replay_is_looked_for_by_the_name_of_its_file(
    place: Place, tmp_path: Path
) -> None:
    order = "order: {seed: 21, global_batch_size: 4, max_seq_len: 64}"
    (tmp_path / "again.yaml").write_text(f"name: again\npool: {{hub: org/pool}}\n{order}\n")
    bundle = ("bundle", place.out, "--out", "out", "--mixture", "again.yaml")
    done = builds.run(*bundle, cwd=tmp_path)
    assert done.returncode == 2
    assert "--lock: got no manifests/again.lock.json, expected the lock of" in done.stderr
    (tmp_path / "manifests").mkdir()
    shutil.copy(place.lock, tmp_path / "manifests/again.lock.json")
    builds.run_well(*bundle, cwd=tmp_path)


@pytest.mark.parametrize("rows", ["index", pytest.param("written", marks=pytest.mark.slow)])
def test_an_order_of_a_pool_has_a_bundle_of_what_is_known(
    place: Place, tmp_path: Path, rows: str
) -> None:
    ordered = tmp_path / "ordered"
    batch = ("--set", "order.global_batch_size=4", "--workers", "1", "--rows", rows)
    batch += ("--format", "mds") if rows == "written" else ()
    builds.run_well("order", place.out / "train", "--out", ordered, *batch)
    bundle = ("bundle", ordered, "--out", tmp_path / "bundle")
    done = builds.run(*bundle, "--lock", place.lock)
    assert (done.returncode, "expected no lock, as the manifest says" in done.stderr) == (2, True)
    done = builds.run(*bundle, "--rows")
    if rows == "index":
        assert done.returncode == 2
        assert "has no files of ordered rows" in done.stderr
        assert "--materialise" in done.stderr
        builds.run_well(*bundle)
    else:
        assert done.returncode == 0, done.stderr
        mine = dataset.open(str(tmp_path / "bundle" / "order")).rows
        theirs = dataset.open(str(ordered)).rows
        every = np.arange(theirs.num_rows)
        for one, other in zip(mine.take(every), theirs.take(every), strict=True):
            assert one.tolist() == other.tolist()
    checked = builds.run("bundle", "--check", tmp_path / "bundle")
    assert checked.returncode == 0, checked.stdout
    # The manifest of an order that somebody published is not that of a build.
    digest = tmp_path / "digest" / "manifest.json"
    digest.parent.mkdir()
    builds.run_well("digest", ordered, "--out", digest)
    done = builds.run("bundle", digest.parent, "--out", tmp_path / "no")
    assert (done.returncode, "got the manifest of an order" in done.stderr) == (1, True)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.show.publish.bundle_writer.write_record", full)
    assert "the disk is full" in refused(copy)


def test_a_bundle_that_its_own_check_refuses_is_a_fault_of_ours(
    copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.show.publish.bundle_writer.croissant", lambda facts: "{}")
    done = copy.bundle(out=copy.folder / "none")
    assert done.returncode == 70
    assert "croissant.json: is refused by mlcroissant" in done.stderr
    assert not (copy.folder / "none").exists()


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.show.publish.bundle_writer.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="got no huggingface_hub, mlcroissant") as raised:
        check_packages()
    assert raised.value.hint == "pip install 'ettin-data[publish]'"


def test_a_record_names_no_file_outside(copy: Place) -> None:
    record = copy.with_rows / "bundle.json"
    record.write_text(record.read_text().replace("LICENSE.md", "../secret"))
    with pytest.raises(MismatchError, match="is damaged"):
        read_record(copy.with_rows)


def test_options_that_do_not_go_together(place: Place) -> None:
    for options, message in (
        (("--check", "--out", "x"), "--out: got --check too"),
        (("--check", "--sign", "x"), "--sign: got --check too"),
        ((), "--out: got nothing"),
        (("--out", "x", "--key", "k"), "--key: got no --check"),
    ):
        done = builds.run("bundle", place.out, *options)
        assert done.returncode == 2
        assert message in done.stderr
