"""Verify: an output, and a manifest or any ordered rows -> what differs, and why.

`verify` hashes the files of an output; `verify_against` compares its rows with a target,
`verify_steps` its steps with a table of their digests.
"""

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.check_output import verify
from pipeline.audit.verify.check_sums import check_sums
from pipeline.audit.verify.comparison import Comparison
from pipeline.audit.verify.report import Report, as_json, lines
from pipeline.audit.verify.step_digests import StepReport, is_step_table, verify_steps

__all__ = [
    "Comparison",
    "Report",
    "StepReport",
    "as_json",
    "check_sums",
    "is_step_table",
    "lines",
    "verify",
    "verify_against",
    "verify_steps",
]
