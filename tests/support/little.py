"""How much is done without compiled code, decided by a test in place of the budgets."""

from collections.abc import Callable
from itertools import cycle

import pytest

from pipeline.core.compiled import Budget


def cover(patch: pytest.MonkeyPatch, *answers: bool) -> None:
    """Answer, whenever some code asks whether to do without compiled code, in turn with these."""
    patch.setattr(Budget, "covers", _answering(cycle(answers).__next__))


def _answering(answer: Callable[[], bool]) -> Callable[[Budget, int], bool]:
    def covers(budget: Budget, size: int) -> bool:
        return answer()

    return covers
