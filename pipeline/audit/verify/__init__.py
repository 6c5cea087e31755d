"""Verify: an output, and a manifest or any ordered rows -> what differs, and why.

`verify` hashes the files of an output; `verify_against` compares its rows with a target.
"""

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.check_output import verify
from pipeline.audit.verify.report import Report, as_json, lines

__all__ = ["Report", "as_json", "lines", "verify", "verify_against"]
