"""Verify: an output and a manifest, or anything else with rows in order -> all that differs."""

from pipeline.verify.against import verify_against
from pipeline.verify.files import verify
from pipeline.verify.report import Report, as_json, lines

__all__ = ["Report", "as_json", "lines", "verify", "verify_against"]
