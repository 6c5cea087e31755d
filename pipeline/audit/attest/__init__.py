"""Attest: what lies at a place, against what public pages say of the released files."""

from pipeline.audit.attest.conclusions import Conclusion, conclude
from pipeline.audit.attest.evidence import Evidence, gather
from pipeline.audit.attest.facts import Fact, contradictions, load_facts
from pipeline.audit.attest.infer import Fit, Inference, digest_of, infer, open_shard
from pipeline.audit.attest.probe_hub import Outcome, probe
from pipeline.audit.attest.report import as_json, lines, table
from pipeline.audit.attest.shard_alone import describe_shard
from pipeline.audit.attest.verdicts import Verdict, attest

__all__ = [
    "Conclusion",
    "Evidence",
    "Fact",
    "Fit",
    "Inference",
    "Outcome",
    "Verdict",
    "as_json",
    "attest",
    "conclude",
    "contradictions",
    "describe_shard",
    "digest_of",
    "gather",
    "infer",
    "lines",
    "load_facts",
    "open_shard",
    "probe",
    "table",
]
