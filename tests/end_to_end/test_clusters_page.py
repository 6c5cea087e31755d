"""Every block of the page on clusters is run, or marked with what was missing to run it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support import builds, pages, store_builds
from support.paths import REPOSITORY
from support.store_server import serve_store

PAGE = REPOSITORY / "docs" / "guide" / "clusters.md"
BLOCKS = pages.blocks(PAGE)
MIXTURE = """\
name: letters
chunk: {size: 64}
sources:
  letters: {from: {path: "letters-*.jsonl"}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
"""


def write_inputs(folder: Path) -> Path:
    """Write a mixture of five files of different lengths."""
    for number in range(5):
        documents = builds.documents(f"letters-{number}", 5 + 9 * number, 60)
        (folder / f"letters-{number}.jsonl").write_bytes(builds.json_lines(documents))
    return builds.write_mixture(folder, MIXTURE, "mixture.yaml")


@contextmanager
def started(script: str, folder: Path) -> Iterator[None]:
    """Start a block that goes on until it is stopped, and wait for the file of its scheduler."""
    words = shlex.split(script.replace("\\\n", " "), comments=True)
    file = folder / words[words.index("--scheduler-file") + 1]
    log = folder / f"{file.stem}-{words[1]}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {script}"],
            cwd=folder, env=pages.environment(), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        stop = time.monotonic() + 60
        while not (file.exists() and file.stat().st_size):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < stop
            time.sleep(0.1)
        yield
    finally:
        # A worker ends by itself where its scheduler went first.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def test_every_block_is_run_or_says_what_was_missing() -> None:
    kinds = {block.mark.partition(":")[0] for block in BLOCKS}
    assert kinds <= {"run", "start", "file", "not run", "output"}
    for block in BLOCKS:
        if block.mark.startswith("not run"):
            assert "there was no " in block.mark


def test_the_commands_run_one_after_the_other_and_make_the_same_bytes(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    with ExitStack() as stack:
        for block in BLOCKS:
            if block.mark == "run":
                pages.run(block.text, tmp_path)
            elif block.mark == "start":
                stack.enter_context(started(block.text, tmp_path))
    outputs = {name: builds.digests(tmp_path / name)
               for name in ("laptop", "large", "parts", "several", "secure")}  # fmt: skip
    assert "manifest.json" in outputs["laptop"]
    for name, digests in outputs.items():
        assert builds.differences(digests, outputs["laptop"]) == [], name


def test_the_commands_for_a_store_run_and_make_the_same_bytes(tmp_path: Path) -> None:
    mixture = write_inputs(tmp_path)
    with serve_store(tmp_path, "bucket"):
        [block] = [block for block in BLOCKS if block.mark == "run: store"]
        pages.run(block.text, tmp_path)
        stored = store_builds.digests("s3://bucket/out")
    builds.run_well("build", mixture, "--out", tmp_path / "out")
    assert builds.differences(stored, builds.digests(tmp_path / "out")) == []


def manifests() -> list[Any]:
    return [yaml.safe_load(block.text) for block in BLOCKS if block.language == "yaml"]


def containers(manifest: Any) -> list[Any]:
    """Return the containers of a manifest, wherever they are in it."""
    if isinstance(manifest, list):
        return [one for part in manifest for one in containers(part)]
    if not isinstance(manifest, dict):
        return []
    return [*manifest.get("containers", []), *containers([*manifest.values()])]


def test_commands_of_kubernetes_are_those_of_dask_and_of_the_tool(tmp_path: Path) -> None:
    cluster, build, chunk = manifests()
    for container in containers(cluster):
        command = [sys.executable, "-m", *container["command"], "--help"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        options = [one for one in container.get("args", []) if one.startswith("--")]
        assert all(option in shown for option in options)
    [container] = containers(build)
    done = builds.run(*container["args"])
    assert done.returncode == 2
    assert "/shared/mixture.yaml" in done.stderr
    [container] = containers(chunk)
    write_inputs(tmp_path)
    [script] = container["args"]
    pages.run(script.replace("/shared", str(tmp_path)), tmp_path, JOB_COMPLETION_INDEX="31")
    locks = [path.stem for path in (tmp_path / "out" / ".ettin" / "parts").glob("*.lock")]
    assert locks == [f"part-{chunk['spec']['completions']}-of-32-of-chunk"]


@pytest.mark.oracle
def test_the_cluster_on_kubernetes_is_as_the_operator_defines_it() -> None:
    package = Path(pytest.importorskip("dask_kubernetes").__file__).parent
    chart = package / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
    definition = chart / "crds" / "daskcluster.yaml"
    [version] = yaml.safe_load(definition.read_text())["spec"]["versions"]
    jsonschema.validate(manifests()[0], version["schema"]["openAPIV3Schema"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_steps_of_the_container_run_where_no_runtime_is(tmp_path: Path) -> None:
    """In folders below one that stands for the root, with a fresh python first on the path."""
    here, entry = tmp_path, list[str]()
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    variables = {
        "PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for line in (REPOSITORY / "tools" / "Containerfile").read_text().splitlines():
        step, _, rest = line.partition(" ")
        match step:
            case "WORKDIR":
                here = tmp_path / rest.removeprefix("/")
                here.mkdir(exist_ok=True)
            case "COPY":
                *sources, to = rest.split()
                for source in sources:
                    copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
                    copy(REPOSITORY / source, here / to)
            case "RUN":
                subprocess.run(["sh", "-c", rest], cwd=here, env={**kept, **variables}, check=True)
            case "ENTRYPOINT":
                entry = json.loads(rest)
            case _:
                assert step in ("#", "", "FROM"), line
    write_inputs(here)
    subprocess.run(
        [*entry, "build", "mixture.yaml", "--out", "out"],
        cwd=here, env={**kept, **variables}, check=True,
    )  # fmt: skip
    assert (here / "out" / "manifest.json").is_file()
