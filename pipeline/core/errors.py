"""Errors a person can act on, grouped by what to do next.

PipelineError
├── ConfigError     fix the mixture file or recipe (or the command line)
├── InputError       fix or pull again the data that the mixture names
│   └── DocumentError    one document is bad; `on_error: skip` counts it instead
├── OutputError      choose another folder, or make room
├── NotFoundError    what was asked for is not in the data: ask for something that is
├── TrainingError    a model went astray: go back to a checkpoint, and change the recipe
├── MismatchError    bytes are not what a manifest says: rebuild
└── InternalError      two ways of computing one thing disagree: report a bug

Every message says where, what was got and what was expected; `hint` says what to do.
Instances cross process boundaries, so they are built from picklable arguments alone.
"""


class PipelineError(Exception):
    """Base of all errors that the tool raises on purpose; printed without a traceback."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(PipelineError):
    """A mixture file, a recipe or an override says something impossible or unknown."""


class InputError(PipelineError):
    """Input data is missing, damaged or not in the declared form."""


class DocumentError(InputError):
    """A single document cannot be used.

    `reason` is the word under which `on_error: skip` counts it.
    """

    def __init__(self, message: str, hint: str | None = None, reason: str = "bad") -> None:
        super().__init__(message, hint)
        self.args = (message, hint, reason)
        self.reason = reason


class OutputError(PipelineError):
    """The output folder cannot be written, or holds something else."""


class MismatchError(PipelineError):
    """Bytes on disk are not those that a manifest names."""

    exit_code = 1


class NotFoundError(PipelineError):
    """What was asked for is not there: a position beyond an order, a document of none."""

    exit_code = 1


class TrainingError(PipelineError):
    """A model in training is no longer one: its loss is no number."""

    exit_code = 1


class InternalError(PipelineError):
    """A guard found two results that must be equal and are not: a bug of ours."""

    exit_code = 1
