"""Attempt: a task runs again after an error of a disk or a network that may pass.

Tasks are pure functions from files to files, so all of one runs again. What would fail again ends
it at once: a full disk, bad data, a server that was asked several times already, and bugs.
"""

import errno
import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pipeline.core.errors import NetworkError, causes_of
from pipeline.core.shown import printable

Task = TypeVar("Task")
Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)
_TRANSIENT: Final = frozenset({errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ECONNRESET})
PAUSES: Final = (1.0, 5.0, 25.0)
"""Seconds before each further attempt."""


def attempt(function: Callable[[Task], Result], task: Task) -> tuple[Result, list[str]]:
    """Run a function on a task; return its result, and the name of each error that passed.

    Raises: the error of the last attempt, or one that does not pass.
    """
    passed: list[str] = []
    for pause in PAUSES:
        try:
            return function(task), passed
        except Exception as error:
            name = transient(error)
            if name is None:
                raise
            passed.append(name)
            _LOG.warning("%s", printable(f"{error}: trying again in {pause:g} s"))
        time.sleep(pause)
    return function(task), passed


def transient(error: BaseException) -> str | None:
    """Return the name of the transient error of the system that an error comes from, if any.

    The last error of the system counts: what failed while another was handled has its own cause.
    """
    if isinstance(error, NetworkError):
        return None
    of_system = [one for one in causes_of(error) if isinstance(one, OSError)]
    number = of_system[0].errno if of_system else None
    return errno.errorcode[number] if number in _TRANSIENT else None
