"""Rules of trust: which files of an earlier run a build takes without reading them.

It must find all damage that shows in size, mtime or inode, all that a loss of power does, and with
`--check` all there is; and no chunks go while anything may have to be drawn from them again.
"""

import os
import shutil
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support import builds

from pipeline.core.digest import FileDigest
from pipeline.core.json_record import from_json
from pipeline.core.record_log import RecordLog

from .disk import Disk
from .model import World
from .passes import SIZES

_SIZE = st.sampled_from(SIZES)
_SEED = st.integers(0, 99)
# What records name; all else is made again by each run, or has digests of its own.
_OF_TASKS = (
    *("train/", "order/", "provenance/", ".ettin/chunks/", ".ettin/survey/"),
    *("validation/train/", "validation/order/", "validation/provenance/"),
)


class QuietDamageRule:
    """Change a bit of a file and give it its old mtime: a build with `--check` finds it."""

    world: World

    @precondition(lambda self: self.world.state == "begun" and self.world.is_ours)
    @rule(data=st.data(), size=_SIZE, seed=_SEED)
    def damage_a_file_quietly(self, data: st.DataObject, size: str, seed: int) -> None:
        world = self.world
        names = [
            name
            for name in sorted(builds.digests(world.out))
            if name.startswith(_OF_TASKS) and (world.out / name).stat().st_size
        ]
        if not names:
            return
        path = world.out / data.draw(st.sampled_from(names))
        flip_quietly(path, data.draw(st.integers(0, path.stat().st_size - 1)))
        done = world.build(size, "--check", seed=seed)
        assert done.is_good, done.stderr
        world.note_whole()


class DrawnChunksRule:
    """Build until the power goes while chunks are removed: what was drawn from them is there."""

    world: World

    @precondition(lambda self: self.world.state == "none")
    @rule(data=st.data(), seed=_SEED, kind=st.sampled_from(["lost data", "torn data"]))
    def lose_power_as_chunks_go(self, data: st.DataObject, seed: int, kind: str) -> None:
        world = self.world
        counted = Disk(world.folder)
        assert world.build("one pass", seed=seed, disk=counted).is_good
        shutil.rmtree(world.out)
        [first, *_, last] = [
            number
            for number, line in enumerate(counted.log, 1)
            if line.startswith("unlink") and line.endswith(".mds")
        ]
        disk = Disk(world.folder, kind, data.draw(st.integers(first, last + 20)))
        assert world.build("one pass", seed=seed, disk=disk).was_stopped
        assert drawn_again(world.out) == [], "chunks are gone that must be drawn from again"
        world.note_begun()
        shutil.rmtree(f"{world.folder}.backups", ignore_errors=True)


TRUST_RULES = (QuietDamageRule, DrawnChunksRule)


def flip_quietly(path: Path, byte: int) -> None:
    """Change a bit of a file in its place, and nothing that shows of it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(byte)
        old = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([old ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def drawn_again(out: Path) -> list[str]:
    """Return the partitions whose chunks are gone, and whose samples are not all there."""
    log, found = RecordLog(out / ".ettin" / "records"), []
    for folder in sorted((out / "train").glob("*/*/")):
        source, name = folder.parts[-2:]
        partition = name.partition("-tokenized-")[0]
        if is_whole(out, log, f"partitions/{source}/{partition}"):
            continue
        if not is_whole(out, log, f"draws/{source}/{partition}"):
            found.append(f"{source}/{partition}")
    return found


def is_whole(out: Path, log: RecordLog, task: str) -> bool:
    """Tell whether a record of a task is there, and so are all its files."""
    for saved in log.find(task):
        files = saved["files"]
        digests = {
            path: from_json(FileDigest, {key: file[key] for key in ("bytes", "sha256")})
            for path, file in files.items()
        }
        if all(digest.matches(out / path) for path, digest in digests.items()):
            return True
    return False
