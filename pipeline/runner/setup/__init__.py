"""Setup: before the first build. Own files -> a mixture that builds; a machine -> what it lacks.

`draft_mixture` looks at files and proposes a mixture of them, `write_text` writes it with
comments. `examine_machine` says what is ready here and what to do about the rest.
"""

from pipeline.runner.setup.new_mixture import describe, draft_mixture, write_text
from pipeline.runner.setup.propose_mixture import Proposal
from pipeline.runner.setup.readiness import Finding, examine_machine
from pipeline.runner.setup.write_mixture import format_percent

__all__ = [
    "Finding",
    "Proposal",
    "describe",
    "draft_mixture",
    "examine_machine",
    "format_percent",
    "write_text",
]
