"""The verifier that is written from the specification, as a module."""

import importlib.util

from support.paths import REPOSITORY

TOOL = REPOSITORY / "tools" / "verify_ledger.py"

_spec = importlib.util.spec_from_file_location("verify_ledger", TOOL)
assert _spec is not None
assert _spec.loader is not None
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)
