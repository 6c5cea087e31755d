"""Verify: an output and a manifest, or anything else with rows in order -> all that differs."""

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.output_files import verify
from pipeline.audit.verify.report import Report, as_json, lines

__all__ = [
    "Report",
    "as_json",
    "lines",
    "verify",
    "verify_against",
]
