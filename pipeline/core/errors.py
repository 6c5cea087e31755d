"""Errors a person can act on, grouped by what to do next.

PipelineError
├── ConfigError      fix the command, or the mixture or recipe file
├── InputError       fix the input data, or pull it again
│   ├── DocumentError   one document is bad; `on_error: skip` counts it instead
│   ├── NoMatchError    a pattern reaches no file: correct it
│   └── NetworkError    run the same command later, when the server can be reached
├── OutputError      choose another folder, or free disk space
├── NotFoundError    ask for something that is in the data
├── TrainingError    training diverged: return to a checkpoint and change the recipe
├── MismatchError    bytes are not what a manifest says: rebuild
└── InternalError    two ways of computing one thing disagree: report a bug

Every message says where, what was found and what was expected; `hint` says what to do.
Instances cross process boundaries, so they are built from picklable arguments alone.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.shown import printable, without_secrets

# Of Python and of Arrow.
_NO_THREAD = ("can't start new thread", "Failed to launch worker thread")


class PipelineError(Exception):
    """Base of all errors that the tool raises on purpose; printed without a traceback."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None, *, guide: str | None = None) -> None:
        """`guide`: the page of the guide, where the error knows one better than the command."""
        # Names and messages come from files and servers.
        message = printable(without_secrets(message))
        hint = None if hint is None else printable(without_secrets(hint))
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.guide = guide

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(PipelineError):
    """A command, a mixture, a recipe or an override is impossible or unknown."""


class InputError(PipelineError):
    """Input data is missing, damaged or not in the declared form."""


class DocumentError(InputError):
    """A single document cannot be used; `on_error: skip` counts it under `reason`."""

    def __init__(self, message: str, hint: str | None = None, reason: str = "bad") -> None:
        super().__init__(message, hint)
        self.args = (*self.args, reason)
        self.reason = reason


class NoMatchError(InputError):
    """A pattern of files matches none."""


class NetworkError(InputError):
    """A server cannot be reached, does not answer in time, or cuts every connection."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class OutputError(PipelineError):
    """The output folder cannot be written, or holds something else."""


class MismatchError(PipelineError):
    """Bytes on disk are not those that a manifest names."""

    exit_code = 1


class NotFoundError(PipelineError):
    """What was asked for is not in the data, such as a position beyond an order."""

    exit_code = 1


class TrainingError(PipelineError):
    """Training diverged: the loss is not a number."""

    exit_code = 1


class InternalError(PipelineError):
    """Two results that must be equal are not: a bug of ours."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, as far back as it goes."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is a Ctrl-C.

    Others are raised from it: Python before 3.12 raises RuntimeError where a class is made
    (`type.__new__` calls `__set_name__`), as while a library is imported.
    """
    return isinstance(error, KeyboardInterrupt)


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is lacking, for data or for a thread's stack."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or any(words in str(error) for words in _NO_THREAD)
    )


def lacks_files(error: BaseException) -> bool:
    """Return whether an error says that this process, or the system, has too many open files."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


@contextmanager
def explain_library(complaint: str, hint: str | None = None) -> Iterator[None]:
    """Explain what a library in Rust raises: bare Exception, or a panic, which is not even that.

    Raises: InputError with the complaint and the reason.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise InputError(f"{complaint}: {error}", hint) from error
