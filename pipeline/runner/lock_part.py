"""Lock part: several runs work in one output folder, each at a part of one stage.

They share the lock that a build holds alone, so neither starts while the other runs. Who comes
first clears what killed runs have left; who comes later leaves it, since it may be of the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import OutputError
from pipeline.dataset import MANIFEST, State
from pipeline.runner.folder_lock import (
    entering,
    held_parts,
    open_lock,
    part_lock,
    part_name,
    take,
)
from pipeline.runner.output_lock import check_folder, claim, owner_of, release
from pipeline.runner.parts import Part, Stage, check_versions


@contextmanager
def lock_part(out: Path, fingerprint: str, stage: Stage, part: Part) -> Iterator[State]:
    """Hold a part of a stage in an output folder of the build of this fingerprint.

    Raises: OutputError as `lock_output`, and where the folder holds a whole build, the same part
    runs, or parts of another stage or number run, or such of other versions have.
    """
    state = State(out=out)
    check_folder(state, fingerprint)
    refuse_whole(out)
    own = part_lock(state, stage, part)
    with open_lock(state, state.lock) as lock, open_lock(state, own) as own_lock:
        with entering(state):
            if take(lock, state.lock):
                if (out / MANIFEST).exists():
                    # By a build that ended meanwhile.
                    release(state)
                    refuse_whole(out)
                claim(state, fingerprint)
            if not take(lock, state.lock, shared=True):
                raise _running(out, "a build")
            # Who was first may not have made anything yet, by which others know whose it is.
            if owner_of(state) != fingerprint:
                raise _running(out, "parts of another mixture")
            others = [one for one in held_parts(state) if _split(one) != _split(f"{part} {stage}")]
            if others:
                raise _running(out, others[0], f", got {part_name(stage, part)}")
            check_versions(state, notes=True)
            if not take(own_lock, own):
                raise _running(out, part_name(stage, part))
        yield state


def refuse_whole(out: Path) -> None:
    """Refuse a finished output, whose manifest a part would take away. Raises: OutputError."""
    if (out / MANIFEST).exists():
        raise OutputError(
            f"{out}: holds a whole build, of which no part is to be made",
            "run the command without --stage and --part to check it, or choose another --out",
        )


def _split(part: str) -> tuple[str, str]:
    """Return the stage and the number of parts of one, as it is in words."""
    words = part.split()
    return words[-1], next(word for word in words if "/" in word).partition("/")[2]


def _running(out: Path, who: str, got: str = "") -> OutputError:
    return OutputError(
        f"{out}: {who} {'are' if who.startswith('parts') else 'is'} running here{got}",
        "wait until it has ended: at one time there are parts of one stage, each once, and of one"
        " number",
    )
