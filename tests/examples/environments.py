"""Runs a program of an environment that `setup.sh` made, without a network."""

from support.environments import Environments

_MADE = Environments("ETTIN_EXAMPLES")
needed = _MADE.needed


def run(environment: str, program: str, *arguments: object) -> str:
    """Return what a program prints, run at the root."""
    return _MADE.run(environment, program, *arguments, HF_HUB_OFFLINE="1")
