"""Site: what all stages of one build share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.build.engine import Engine
from pipeline.build.task import describe_file
from pipeline.files import publish
from pipeline.layout import State
from pipeline.mixture import Mixture
from pipeline.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One build under way."""

    mixture: Mixture
    """What is built."""
    mixture_folder: Path
    """Against which the mixture's paths are read, absolute."""
    state: State
    """Where it is built."""
    engine: Engine
    """What runs its tasks."""
    tokenizer: Tokenizer
    """As the mixture declares it."""
    run: str
    """Unique to this run, so that long-lived workers forget what they mapped in another."""

    def publish(self, name: str, data: bytes) -> dict[str, Any]:
        """Publish a file of the output, unless it is there as it should be; return its record."""
        path = self.state.out / name
        if not (path.is_file() and path.read_bytes() == data):
            with publish(path, self.state.scratch) as temporary:
                temporary.write_bytes(data)
        return {name: describe_file(path)}
