"""Site: what all stages of one build share."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Mixture
from pipeline.dataset import State
from pipeline.runner.cluster import Cluster
from pipeline.stages.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One build under way."""

    mixture: Mixture
    """What is built."""
    mixture_folder: Path
    """Against which the mixture's paths are read, absolute."""
    state: State
    """Where it is built."""
    engine: Cluster
    """What runs its tasks."""
    tokenizer: Tokenizer
    """As the mixture declares it."""
    memory_bytes: int
    """A larger pool is laid out by position on disk before it is written in order."""
    keeps_raw: bool
    """Whether pulled files stay on disk; else each is fetched for as long as it is read."""
    run: str
    """Unique to this run, so that long-lived workers forget what they mapped in another."""
