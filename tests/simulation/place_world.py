"""Places in the simulation: a Hub, a web host and a store, one of each in a process.

They fail as a rule tells them to. The addresses that a mixture has name no port, nothing waits, and
one request follows another, so that a seed alone says what is asked for and what a fault strikes.
"""

import asyncio
import atexit
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import aiohttp
import s3fs
import urllib3.util.connection
from support import builds, source_server, store_server

from pipeline.dataset.parquet import reader
from pipeline.sources.download import part_file, pull
from pipeline.storage import http, hub, object_store, retry

from . import commands
from .disk import Disk
from .model import Reference, World

NUM_VERSIONS: Final = 3
PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    # Of the first the Hub has the sha256, of the second the hash of git.
    "hub": ("a-0.jsonl", "a-1.json"),
    "web": ("b.jsonl.gz",),
    "store": ("c.jsonl",),
}
BUCKET: Final = "simulated"
_WEB: Final = "web.test"
_ORDERS: Final = ("plain", "dedup")
_MIXTURE: Final = """\
name: places
chunk: {{algorithm: ettin-slice-v2, size: 64, min_size: 32, skip_below: 8, seed: 42}}
sources:
  a: {{from: {{{hub}}}, tokens: 700}}
  b: {{from: {{{web}}}, epochs: 3/2, filters: [{{length: {{min_chars: 40}}}}]}}
  c: {{from: {{{store}}}}}
validation: {{fraction: 1/20}}
shards: {{size_limit: 2KiB}}
order: {{seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 2k}}
"""
MIXTURE: Final = _MIXTURE.format(
    hub='hub: org/a, files: "a-*"',
    web=f'url: "http://{_WEB}/files/web/b.jsonl.gz"',
    store=f"s3://{BUCKET}/c.jsonl".join(('url: "', '"')),
)
_LOCAL: Final = _MIXTURE.format(
    hub='path: "in/a-*"', web="path: in/b.jsonl.gz", store="path: in/c.jsonl"
)
Versions = dict[str, int]
"""The version of the files at each place."""


@cache
def content(name: str, version: int) -> bytes:
    """Return a version of a file: the first, one with as many bytes, and a longer one."""
    number = 20 if version == 2 else 10
    documents = builds.documents(f"{name[:3]}{version // 2}", number, 110)
    if version == 1:
        for one in documents:
            one["text"] = one["text"].replace("e", "E")
    lines = builds.json_lines(documents)
    # Stored, so that what has as many bytes has them packed, too.
    return gzip.compress(lines, 0, mtime=0) if name.endswith(".gz") else lines


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at a place while a command runs."""

    fault: Mapping[str, Any]
    """As `support.served_faults` has it, but that a file is replaced by the `version` of `name`; at
    the store, `kind` is "error", "lost" or "replaced"."""
    at_store: bool = False

    @property
    def passes(self) -> bool:
        """Whether a command must come through: as it tries each request six times."""
        is_short = self.fault["kind"] in ("status", "cut", "short", "error", "lost")
        return is_short and 0 <= self.fault.get("times", 1) < 4

    @property
    def is_away(self) -> bool:
        """Whether there is nothing to be had, so that it is to be tried later."""
        kind, times = self.fault["kind"], self.fault.get("times", 1)
        return kind in ("status", "error", "lost") and not 0 <= times < 6


class Servers:
    """The servers of a process: all versions of all files, and two orders."""

    def __init__(self) -> None:
        stack = ExitStack()
        atexit.register(stack.close)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="places-")))
        for name in ("web", "orders", *(f"versions/{one}" for one in range(NUM_VERSIONS))):
            (self.folder / name).mkdir(parents=True)
        for version in range(NUM_VERSIONS):
            for name in (name for names in PLACES.values() for name in names):
                self.file(name, version).write_bytes(content(name, version))
        hub_files = [self._hub_folder(version) for version in range(NUM_VERSIONS)]
        self.http = stack.enter_context(
            source_server.serve(
                {"org/a": hub_files[0], "org/orders": self.folder / "orders"},
                files={"web": self.folder / "web", "orders": self.folder / "orders"},
            )
        )
        self.commits = [self.http.commit]
        self.commits += [self.http.push("org/a", folder) for folder in hub_files[1:]]
        with mock.patch.dict(os.environ):
            stack.enter_context(store_server.serve_store(self.folder, BUCKET))
            settings = {name: value for name, value in os.environ.items() if "AWS_" in name}
        self._settings = {
            **settings,
            "HF_ENDPOINT": self.http.endpoint,
            "HF_HOME": str(self.folder / "home"),
            "NO_PROXY": "*",
        }

    def file(self, name: str, version: int) -> Path:
        return self.folder / "versions" / str(version) / name

    def _hub_folder(self, version: int) -> Path:
        folder = self.folder / "hub" / str(version)
        folder.mkdir(parents=True)
        for name in PLACES["hub"]:
            (folder / name).write_bytes(content(name, version))
        return folder

    @contextmanager
    def reached(self, *, at_once: int) -> Iterator[None]:
        """Let commands of this process find the servers, and wait for nothing."""
        real, port = urllib3.util.connection.create_connection, int(self.http.endpoint[17:])

        def connect(address: tuple[str, int], *rest: Any, **options: Any) -> Any:
            is_web = address[0] == _WEB
            return real(("127.0.0.1", port) if is_web else address, *rest, **options)

        hub._list_commit.cache_clear()
        with ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, self._settings))
            for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
                os.environ.pop(name, None)
            waits = {**retry.RetryPolicy.__init__.__kwdefaults__, "sleep": lambda _: None}
            for where, name, value in (
                (urllib3.util.connection, "create_connection", connect),
                (retry.RetryPolicy.__init__, "__kwdefaults__", waits),
                (retry, "_MAX_CONCURRENT", at_once),
                (pull, "_NUM_THREADS", at_once),
                (reader, "_FOOTERS_AT_ONCE", at_once),
                # It tries again by itself, and waits.
                (s3fs.core, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": _at_once})),
                # Small files, in as many pieces as large ones.
                (part_file, "_BLOCK_BYTES", 700),
                (part_file, "_READ_BYTES", 300),
                (http, "_PIECE_BYTES", 512),
                (object_store, "_PIECE_BYTES", 1000),
            ):
                stack.enter_context(mock.patch.object(where, name, value))
            yield

    @contextmanager
    def troubled(self, trouble: Trouble | None) -> Iterator[None]:
        """Let something go wrong until the block ends."""
        if trouble is None:
            yield
        elif trouble.at_store:
            with mock.patch.object(s3fs.S3FileSystem, "_call_s3", _failing(trouble.fault)):
                yield
        else:
            fault = dict(trouble.fault)
            if fault["kind"] == "replaced":
                fault["path"] = str(self.file(fault["name"], fault["version"]))
            self.http.set_faults([fault])
            try:
                yield
            finally:
                self.http.set_faults([])

    def put(self, place: str, version: int) -> None:
        """Put a version of its files at a place."""
        if place == "hub":
            self.http.move("org/a", self.commits[version])
        for name in PLACES[place]:
            if place == "web":
                path = self.folder / "web" / name
                path.write_bytes(content(name, version))
                # What was modified when follows from the version.
                os.utime(path, (10**9 + version, 10**9 + version))
            if place == "store":
                self.put_object(name, content(name, version))

    def put_object(self, name: str, data: bytes) -> None:
        with self.reached(at_once=1):
            s3fs.S3FileSystem().pipe(f"{BUCKET}/{name}", data)

    def order_address(self, place: str, path: str) -> str:
        where = {"hub": "hf://datasets/org/orders", "web": f"http://{_WEB}/files/orders"}
        return f"{where.get(place, f's3://{BUCKET}/orders')}/{path}"

    def publish(self, name: str, out: Path) -> None:
        """Put an order at every place."""
        if (self.folder / "orders" / name).exists():
            return
        shutil.copytree(out, self.folder / "orders" / name)
        for path in sorted(out.rglob("*")):
            if path.is_file():
                self.put_object(f"orders/{name}/{path.relative_to(out)}", path.read_bytes())


async def _at_once(_: float) -> None:
    """Stand in for `asyncio.sleep`."""


def _failing(fault: Mapping[str, Any]) -> Any:
    """Return what stands in for the requests of `s3fs`, and fails at some of them."""
    real, number = s3fs.S3FileSystem._call_s3, 0

    async def call(self: Any, method: str, *given: Any, **options: Any) -> Any:
        nonlocal number
        number += 1
        late, times = number - fault["skip"], fault["times"]
        if late > 0 and (times < 0 or late <= times):
            if fault["kind"] == "error":
                raise OSError("Please reduce your request rate.")
            if fault["kind"] == "lost":
                raise aiohttp.ClientPayloadError("Response payload is not completed")
            if fault["kind"] == "replaced" and late == 1:
                body = content(fault["name"], fault["version"])
                await real(self, "put_object", Bucket=BUCKET, Key=fault["name"], Body=body)
        return await real(self, method, *given, **options)

    return call


@cache
def servers() -> Servers:
    """Return the servers of this process, started on the first call."""
    return Servers()


@dataclass
class PlaceWorld:
    """What somebody has locked, pulled and built of what lies at places, and what is there now."""

    world: World
    there: Versions = field(default_factory=lambda: dict.fromkeys(PLACES, 0))
    locked: Versions | None = None
    recorded: Versions = field(default_factory=dict)
    """Versions that were pulled as locked, so that the lock has a hash of their bytes."""
    damaged: dict[Path, int] = field(default_factory=dict)
    """Pulled files that somebody changed, and the version that each was."""

    def __post_init__(self) -> None:
        self.folder = self.world.folder / "places"
        self.folder.mkdir()
        self.mixture = builds.write_mixture(self.folder, MIXTURE, "places.yaml")
        self.lock, self.raw = self.folder / "lock.json", self.folder / "raw"
        self.out = self.folder / "out"
        self.servers = servers()
        s3fs.S3FileSystem.clear_instance_cache()
        for place in PLACES:
            self.put(place, 0)
        for variant in _ORDERS:
            key = variant, (0,) * len(self.world.versions)
            self.servers.publish(variant, self.world.reference(key).out)

    def put(self, place: str, version: int) -> None:
        self.there[place] = version
        self.servers.put(place, version)

    def run(
        self, *arguments: str | Path, disk: Disk | None = None, trouble: Trouble | None = None
    ) -> commands.Done:
        """Run a command while something goes wrong, and look at what it left."""
        at_once = 8 if disk is None and trouble is None else 1
        with self.servers.reached(at_once=at_once), self.servers.troubled(trouble):
            done = commands.run(*arguments, disk=disk)
        if trouble is not None and trouble.at_store and trouble.fault["kind"] == "replaced":
            self.put("store", self.there["store"])
        shutil.rmtree(f"{self.folder}.backups", ignore_errors=True)
        self.check_pulled()
        return done

    def note_locked(self) -> None:
        self.locked = dict(self.there)
        self.recorded = dict(self.recorded.items() & self.locked.items())

    def note_pulled(self) -> None:
        assert self.locked is not None
        self.recorded = dict(self.locked)

    def tellable(self, trouble: Trouble | None) -> Trouble | None:
        """Return what goes wrong, but for wrong bytes that nothing yet tells from right ones."""
        if trouble is None or trouble.fault["kind"] != "damaged" or "web" in self.recorded:
            return trouble
        # Of a web host nothing but its word says what is right; of the Hub the digest.
        return None if trouble.fault["match"] in PLACES["web"] else trouble

    def is_put_back(self, trouble: Trouble | None) -> bool:
        """Return whether what is locked takes the place of another version while a command runs."""
        if self.locked is None or trouble is None or trouble.fault["kind"] != "replaced":
            return False
        name, version = trouble.fault["name"], trouble.fault["version"]
        [place] = [place for place, names in PLACES.items() if name in names]
        return self.locked[place] == version

    # What was pulled

    def pulled_path(self, place: str, name: str) -> Path:
        """Return where a file lies once it was pulled as locked."""
        assert self.locked is not None
        commit = self.servers.commits[self.locked["hub"]]
        where = {"hub": f"hub/org/a/{commit}", "web": f"http/{_WEB}/files/web"}
        return self.raw / where.get(place, f"s3/{BUCKET}") / name

    def locked_paths(self) -> set[Path]:
        """Return where all files lie once they were pulled as locked."""
        return {self.pulled_path(place, name) for place, names in PLACES.items() for name in names}

    def remove_pulled(self, file: tuple[str, str]) -> None:
        path = self.pulled_path(*file)
        path.unlink(missing_ok=True)
        self.damaged.pop(path, None)

    def parts(self) -> list[Path]:
        """Return what has come of files that are not complete, and the logs of it."""
        parts = (path for path in self.raw.glob(".partial/*") if path.is_file())
        return sorted(path for path in parts if len(path.stem) == 64)  # Not what a kill left.

    def version_of(self, path: Path) -> int | None:
        """Return which version a pulled file is, or was; None where it is none."""
        if path in self.damaged:
            return self.damaged[path]
        data = path.read_bytes()
        found = [one for one in range(NUM_VERSIONS) if content(path.name, one) == data]
        return found[0] if found else None

    def check_pulled(self) -> None:
        """Insist that every pulled file is of one version, or was before it was damaged."""
        for path in sorted(self.raw.rglob("*.jsonl*")) + sorted(self.raw.rglob("a-*.json")):
            if path.name.endswith(".etag.json"):
                continue
            version = self.version_of(path)
            assert version is not None, f"{path}: is no version of the file"
            if path.name.startswith("a-"):
                assert path.parent.name == self.servers.commits[version], path

    def can_pull(self, *, keeps: bool = True) -> bool:
        """Return whether all that is locked is pulled already, or is still there."""
        assert self.locked is not None
        for place, names in PLACES.items():
            for name in names:
                path, locked = self.pulled_path(place, name), self.locked[place]
                if keeps and path.exists():
                    is_size = path.stat().st_size == len(content(name, locked))
                    is_good = is_size and self.version_of(path) == locked
                else:
                    # A commit stays, other files are replaced.
                    is_good = place == "hub" or self.there[place] == locked
                if not is_good:
                    return False
        return True

    # What was built

    def reference(self) -> Reference:
        """Return what the locked versions come to, built on the first request."""
        assert self.locked is not None
        versions = self.locked
        place = self.world.references / "-".join(["places", *map(str, versions.values())])
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            (place / "in").mkdir(parents=True)
            self._build_reference(place, versions)
            (place / "made").touch()
        return Reference(place / "out", builds.digests(place / "out"))

    def _build_reference(self, place: Path, versions: Versions) -> None:
        """Build from the places, undisturbed, and from local files: the same rows and shards."""
        remote = builds.write_mixture(place, MIXTURE, "places.yaml")
        for name, version in versions.items():
            self.servers.put(name, version)
        with self.servers.reached(at_once=8):
            options = ("--lock", place / "lock.json", "--no-keep-raw", "--raw", place / "raw")
            for words in (("lock", remote, *options[:2]), ("build", remote, *options)):
                out = ("--out", place / "out") if words[0] == "build" else ()
                done = commands.run(*words, *out)
                assert done.is_good, done.stderr
        for name, version in self.there.items():
            self.servers.put(name, version)
        for kind, names in PLACES.items():
            for name in names:
                (place / "in" / name).write_bytes(content(name, versions[kind]))
        local = builds.write_mixture(place, _LOCAL, "local.yaml")
        done = commands.run("build", local, "--out", place / "local")
        assert done.is_good, done.stderr
        assert Reference(place / "out", {}).rows == Reference(place / "local", {}).rows
        for folder in ("order", "train"):
            one, other = (builds.digests(place / out / folder) for out in ("out", "local"))
            # The table of steps says of which mixture it is.
            assert {"steps.parquet"}.issuperset(builds.differences(one, other))
