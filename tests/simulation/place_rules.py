"""Rules of places: what a Hub, a web host and a store may do to whoever reads from them.

Sources of a mixture lie there and are locked, pulled and built, while requests fail, files are
replaced and the disk fails; orders lie there and are read. Whatever happens, bytes are those of the
one version that was locked, or a message says why there are none.
"""

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support import builds

from .commands import Done
from .disk import KINDS, Disk
from .model import World
from .place_world import NUM_VERSIONS, PLACES, PlaceWorld, Trouble

_VERSION = st.integers(0, NUM_VERSIONS - 1)
_FILES = [(place, name) for place, names in PLACES.items() for name in names]
# What a part is damaged by, beside a bit; None where it is as it was.
_REST = st.sampled_from([None, b"", b"more"])
_KEEPS = st.sampled_from([(), ("--no-keep-raw",)])

# Of whatever is asked for, or of one file alone.
_OF_SOURCES = ("", "/api/", "/resolve/", "/files/", "a-0", "a-1", "b.jsonl")
_OF_ORDERS = ("", "/api/", "/resolve/", "/files/", ".parquet", ".mds", "manifest", "index")
_TIMES = st.sampled_from([1, 2, 3, -1])
_BYTES = st.integers(0, 4000)
_HEADERS = st.sampled_from([{}, {"Retry-After": "7"}, {"RateLimit": '"api";r=0;t=55'}])
_ODD = (
    *("ignore_range", "wrong_range", "first_range", "changed"),
    *("page", "gzip", "unsized", "unnamed"),
)


def _troubles(*matches: str) -> st.SearchStrategy[Trouble]:
    """Return requests that fail, some times or always, and answers that are odd."""
    when = {"match": st.sampled_from(matches), "times": _TIMES, "skip": st.integers(0, 3)}
    status = {"kind": st.just("status"), "status": st.sampled_from([408, 429, 500, 503])}
    # A lock of what a HEAD told wrongly would be of nothing.
    get = {"method": st.just("GET"), **when}
    cut = {"kind": st.sampled_from(["cut", "short"]), "bytes": _BYTES}
    store = {"kind": st.sampled_from(["error", "lost"]), "skip": st.integers(0, 6), "times": _TIMES}
    return st.one_of(
        st.builds(Trouble, st.fixed_dictionaries({**status, "headers": _HEADERS, **when})),
        st.builds(Trouble, st.fixed_dictionaries({**cut, **get})),
        st.builds(Trouble, st.fixed_dictionaries({"kind": st.sampled_from(_ODD), **get})),
        st.builds(Trouble, st.fixed_dictionaries(store), st.just(True)),
    )


def _damaged(*matches: str) -> st.SearchStrategy[Trouble]:
    """Return bytes that are sent with a wrong bit."""
    fault = {"kind": st.just("damaged"), "byte": _BYTES, "match": st.sampled_from(matches)}
    always = {"times": st.just(-1), "method": st.just("GET")}
    return st.builds(Trouble, st.fixed_dictionaries({**fault, **always}))


def _replaced(file: tuple[str, str]) -> st.SearchStrategy[Trouble]:
    """Return a file that is another version from some request on."""
    (place, name), skip = file, st.integers(0, 5)
    fault = {"kind": st.just("replaced"), "skip": skip, "version": _VERSION, "name": st.just(name)}
    more = {"times": st.just(-1), "method": st.just("GET"), "match": st.just(name)}
    return st.builds(Trouble, st.fixed_dictionaries({**fault, **more}), st.just(place == "store"))


_OF_FILES = st.sampled_from(_FILES).flatmap(_replaced) | _damaged(*PLACES["hub"], *PLACES["web"])
_TROUBLE = st.none() | _troubles(*_OF_SOURCES) | _OF_FILES
# Of a file that is replaced meanwhile, either version may be locked.
_LOCK_TROUBLE = st.none() | _troubles(*_OF_SOURCES) | _damaged(*PLACES["hub"], *PLACES["web"])

_TOLD: Mapping[str, tuple[str, ...]] = {
    "digest": ("dtype", "view", "num_rows", "num_tokens", "ledger", "windows"),
    "verify": ("equal", "same_multiset", "num_missing", "num_differing", "differing", "windows"),
    "diff": ("equal", "counts", "same_sequence", "same_multiset", "first_rows"),
}
"""What of the answer of a command does not depend on where an order lies."""
_ANSWERS: dict[tuple[str, str], object] = {}
"""The answers of commands to orders on disk."""


class PlaceRule:
    """What rules of places have in common."""

    world: World

    @cached_property
    def places(self) -> PlaceWorld:
        return PlaceWorld(self.world)

    @property
    def locks(self) -> bool:
        """Whether there is a lock; asked of every rule, so that it starts no server."""
        return "places" in self.__dict__ and self.places.locked is not None


def check_refused(done: Done, can: bool, trouble: Trouble | None, disk: Disk | None = None) -> None:
    """Insist that a command did not end well for a reason, with the exit code of that.

    can: whether it ends well where nothing goes wrong.
    """
    if disk is not None and disk.has_struck:
        # A short write may leave no trace; then what a good disk would refuse (1) is refused.
        assert done.code in ((None, 2, 75) if can else (None, 1, 2, 75)), done
        return
    assert not can or (trouble is not None and not trouble.passes), done.stderr
    is_away = can and trouble is not None and trouble.is_away
    assert done.code in ((75,) if is_away else (1, 2, 75)), done


class VersionRule(PlaceRule):
    """Somebody replaces files at a place."""

    @rule(place=st.sampled_from(sorted(PLACES)), version=_VERSION)
    def replace_files_at_a_place(self, place: str, version: int) -> None:
        self.places.put(place, version)


class LockRule(PlaceRule):
    """Lock what is there, or find out what has changed."""

    @rule(trouble=_LOCK_TROUBLE)
    def lock(self, trouble: Trouble | None) -> None:
        places = self.places
        before = places.lock.read_bytes() if places.lock.exists() else None
        done = places.run("lock", places.mixture, "--lock", places.lock, trouble=trouble)
        if done.is_good:
            places.note_locked()
        else:
            check_refused(done, True, trouble)
            assert (places.lock.read_bytes() if places.lock.exists() else None) == before

    @rule(kind=st.sampled_from(KINDS), at=st.integers(1, 12))
    def lock_on_a_failing_disk(self, kind: str, at: int) -> None:
        places = self.places
        before = places.lock.read_bytes() if places.lock.exists() else None
        disk = Disk(places.folder, kind, at)
        done = places.run("lock", places.mixture, "--lock", places.lock, disk=disk)
        after = places.lock.read_bytes() if places.lock.exists() else None
        assert done.is_good or disk.has_struck, done.stderr
        if done.is_good or after != before:
            places.note_locked()
            self.check_the_lock()

    @precondition(lambda self: self.locks)
    @rule()
    def check_the_lock(self) -> None:
        places = self.places
        done = places.run("lock", places.mixture, "--lock", places.lock, "--check")
        assert done.is_good == (places.locked == places.there), done
        assert done.code in (0, 1), done


class PullRule(PlaceRule):
    """Pull what is locked, resume, and refuse what is not as locked."""

    def _pull(self, disk: Disk | None = None, trouble: Trouble | None = None) -> bool:
        places, can = self.places, self.places.can_pull()
        trouble = places.tellable(trouble)
        arguments = (places.mixture, "--lock", places.lock, "--dest", places.raw)
        done = places.run("pull", *arguments, disk=disk, trouble=trouble)
        if done.is_good:
            assert can or places.is_put_back(trouble), "a file was pulled that is not as locked"
            places.note_pulled()
            for place, name in _FILES:
                path = places.pulled_path(place, name)
                assert places.locked is not None
                assert places.version_of(path) == places.locked[place]
        else:
            check_refused(done, can, trouble, disk)
        return done.is_good

    @precondition(lambda self: self.locks)
    @rule(trouble=_TROUBLE)
    def pull(self, trouble: Trouble | None) -> None:
        self._pull(trouble=trouble)

    @precondition(lambda self: self.locks)
    @rule(kind=st.sampled_from(KINDS), at=st.integers(1, 90))
    def pull_on_a_failing_disk(self, kind: str, at: int) -> None:
        disk = Disk(self.places.folder, kind, at)
        if self._pull(disk):
            disk.lose()
            self.places.check_pulled()


class ResumeRule(PullRule):
    """A pull that ends in the middle of a file goes on there, or begins again if it must.

    If the file is replaced meanwhile, it is refused: what came and the rest are of two versions.
    """

    @rule(file=st.sampled_from(_FILES), num_bytes=st.integers(1, 300), data=st.data(), rest=_REST)
    def resume_a_pull(
        self, file: tuple[str, str], num_bytes: int, data: st.DataObject, rest: bytes | None
    ) -> None:
        places, (place, name) = self.places, file
        # Of a new lock, that has no hash of what a web host or a store has.
        for old in (places.lock, places.raw):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        places.damaged.clear()
        assert places.run("lock", places.mixture, "--lock", places.lock).is_good
        places.recorded.clear()
        places.note_locked()
        cut = {"kind": "cut", "bytes": num_bytes, "match": name, "times": -1, "method": "GET"}
        # Of an object, one piece comes and the next does not.
        lost = {"kind": "lost", "skip": 2, "times": -1}
        self._pull(trouble=Trouble(lost, True) if place == "store" else Trouble(cut))
        parts = [path for path in places.parts() if path.stat().st_size]
        if parts and rest is not None:
            damage(data.draw(st.sampled_from(parts)), data, rest)
        odd = data.draw(st.sampled_from([None, "first_range", "ignore_range", "changed"]))
        if odd is not None:
            self._pull(trouble=Trouble({"kind": odd, "match": name, "method": "GET"}))
        if data.draw(st.booleans()):
            # By one with as many bytes, if there is one.
            places.put(place, {0: 1, 1: 0, 2: 0}[places.there[place]])
        self._pull()


class RawRule(PlaceRule):
    """Pulled files are lost or changed."""

    @precondition(lambda self: self.locks and self.places.raw.exists())
    @rule(file=st.sampled_from(_FILES), data=st.data())
    def damage_a_pulled_file(self, file: tuple[str, str], data: st.DataObject) -> None:
        path = self.places.pulled_path(*file)
        if path.exists():
            version = self.places.version_of(path)
            assert version is not None
            damage(path, data)
            self.places.damaged[path] = version

    @precondition(lambda self: self.locks and self.places.raw.exists())
    @rule(file=st.sampled_from(_FILES))
    def remove_a_pulled_file(self, file: tuple[str, str]) -> None:
        self.places.remove_pulled(file)

    @precondition(lambda self: self.locks and self.places.raw.exists())
    @rule()
    def remove_all_pulled_files(self) -> None:
        shutil.rmtree(self.places.raw)
        self.places.damaged.clear()


def damage(path: Path, data: st.DataObject, rest: bytes = b"") -> None:
    """Change a bit of a file, if it has any, and append to it."""
    changed = bytearray(path.read_bytes())
    if changed:
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed + rest)


class PlaceBuildRule(PlaceRule):
    """Build what is locked, from pulled files or as they come: the bytes of the reference."""

    @precondition(lambda self: self.locks)
    @rule(trouble=_TROUBLE, keeps=_KEEPS)
    def build_from_places(self, trouble: Trouble | None, keeps: tuple[str, ...]) -> None:
        self._build(keeps, trouble=trouble)

    @precondition(lambda self: self.locks)
    @rule(kind=st.sampled_from(KINDS), at=st.integers(1, 900), keeps=_KEEPS)
    def build_from_places_on_a_failing_disk(
        self, kind: str, at: int, keeps: tuple[str, ...]
    ) -> None:
        disk = Disk(self.places.folder, kind, at)
        if self._build(keeps, disk=disk):
            disk.lose()
            self._check_output(disk)

    def _build(
        self, keeps: tuple[str, ...], disk: Disk | None = None, trouble: Trouble | None = None
    ) -> bool:
        places, can = self.places, self.places.can_pull(keeps=not keeps)
        trouble = places.tellable(trouble)
        are_whole = bool(keeps) or not places.damaged.keys() & places.locked_paths()
        options = ("--lock", places.lock, "--raw", places.raw, "--out", places.out, *keeps)
        done = places.run("build", places.mixture, *options, disk=disk, trouble=trouble)
        if done.is_good:
            assert are_whole, "a damaged file was built from"
            places.note_pulled()
            self._check_output(disk)
        else:
            check_refused(done, can and are_whole, trouble, disk)
        return done.is_good

    def _check_output(self, disk: Disk | None) -> None:
        expected = self.places.reference().digests
        differences = builds.differences(builds.digests(self.places.out), expected)
        if disk is not None:
            # What a failing disk does not let a build clean up is left to the next one.
            differences = [name for name in differences if not name.startswith(".ettin/")]
        assert differences == [], differences

    @precondition(lambda self: self.locks and self.places.out.exists())
    @rule()
    def remove_the_output_of_places(self) -> None:
        shutil.rmtree(self.places.out)


class PublishedRule(PlaceRule):
    """An order at a place is read as one on disk is, or a message says why it is not."""

    @rule(
        place=st.sampled_from(sorted(PLACES)),
        name=st.sampled_from(["plain", "dedup"]),
        alone=st.booleans(),
        verb=st.sampled_from(["feed", "digest", "verify", "diff"]),
        trouble=st.none() | _troubles(*_OF_ORDERS) | _damaged(".parquet", ".mds", ".json"),
    )
    def read_an_order_at_a_place(
        self, place: str, name: str, alone: bool, verb: str, trouble: Trouble | None
    ) -> None:
        places = self.places
        below = f"{name}/order" if alone else name
        expected = self.expected_answer(verb, below)
        done = self._read(verb, places.servers.order_address(place, below), trouble)
        found = answer(verb, done)
        # A web host cannot be listed, and nothing names the files of parquet alone.
        can = not (place == "web" and below == "plain/order")
        if found is not None:
            assert can
            # Nothing but a ledger tells whether bytes of a whole order are right.
            is_told = trouble is None or trouble.fault["kind"] != "damaged"
            assert not (is_told or (verb == "feed" and not alone)) or found == expected
        else:
            check_refused(done, can, trouble)

    def expected_answer(self, verb: str, below: str) -> object:
        """Return the answer to the same order on disk, asked for once."""
        if (verb, below) not in _ANSWERS:
            here = self.places.servers.folder / "orders" / below
            _ANSWERS[verb, below] = answer(verb, self._read(verb, here))
        return _ANSWERS[verb, below]

    def _read(self, verb: str, where: str | Path, trouble: Trouble | None = None) -> Done:
        places = self.places
        manifest, out = places.folder / "manifest.json", places.servers.folder / "orders/plain"
        words: dict[str, tuple[str | Path, ...]] = {
            "feed": (where, "--global-batch", "4", "--steps", "1:6"),
            "digest": (where, "--out", manifest),
            "verify": (out, "--against", where),
            "diff": (out / "order", where),
        }
        manifest.unlink(missing_ok=True)
        done = places.run(verb, *words[verb], "--json", trouble=trouble)
        assert manifest.exists() == (verb == "digest" and done.is_good)
        return done


def answer(verb: str, done: Done) -> object:
    """Return what a command reports of an order, but for its place; None if it was an error."""
    if verb == "feed":
        return done.stdout if done.is_good else None
    told = done.json()
    told |= told.get("order") or {}
    return None if "error" in told else {name: told[name] for name in _TOLD[verb]}


PLACE_RULES = (VersionRule, LockRule, ResumeRule, RawRule, PlaceBuildRule, PublishedRule)
