"""Budgets: what each source was asked for, what was there, and where its tokens went.

For each source, in tokens: read + added = written + discarded, available = written - validation,
available + repeated = drawn + unused. Of the order: drawn + view_added = tokens of the steps +
dropped + cut. `docs/spec/manifest.md` has the rules that this follows.
"""

from typing import Any

from pipeline.dataset import Manifest, SourceRecord
from pipeline.show.commands import same_view
from pipeline.show.flow import Flow, Node, flow_picture
from pipeline.show.shown_order import Shown

_SUMMED = (
    *("asked", "available", "drawn", "added", "repeated", "discarded", "validation", "documents"),
    *("kept", "read", "written", "unused", "overshoot"),
)
_STEPS, _DRAWN, _LOST = Node("steps"), Node("drawn"), Node("lost")


def budget_view(shown: Shown) -> dict[str, Any]:
    """Return the budgets of an order. Raises: NotFoundError without a manifest of a build."""
    manifest = shown.need_manifest()
    sources = [_source(name, source, manifest) for name, source in manifest.sources.items()]
    order = manifest.order
    totals = {key: sum(one[key] for one in sources) for key in _SUMMED}
    totals |= {
        "view_added": order.num_tokens_added,
        "cut": order.num_tokens_cut,
        "dropped": order.num_tokens_dropped,
        "beyond": order.num_tokens_beyond,
    }
    flows = _flows(sources, totals, order.num_tokens)
    return {
        "sources": sources,
        "totals": totals,
        "flows": [
            {"from": start.name, "to": end.name, "tokens": number} for start, end, number in flows
        ],
        "picture": flow_picture(flows),
        "steps": {
            "rows": order.num_rows,
            "tokens": order.num_tokens,
            "steps": order.num_steps,
            "dropped_rows": order.num_rows_dropped,
        },
        **same_view(shown, "budget", {}),
    }


def _source(name: str, source: SourceRecord, manifest: Manifest) -> dict[str, Any]:
    tokens, budget, documents = source.tokens, source.budget, source.documents
    declared = manifest.mixture.declaration.get("sources", {}).get(name, {})
    return {
        "name": name,
        "category": declared.get("category"),
        "asked": budget.asked,
        "expected": budget.expected,
        "available": budget.available,
        "drawn": budget.drawn,
        "added": tokens.added,
        "repeated": budget.repeated,
        "num_repetitions": budget.num_repetitions,
        "overshoot": budget.overshoot,
        "discarded": tokens.discarded,
        "validation": tokens.validation,
        "read": tokens.num_in,
        "written": tokens.written,
        "unused": budget.available + budget.repeated - budget.drawn,
        "dropped": {
            # Of documents that are dropped no tokens are counted.
            reason: {"documents": number, "tokens": None}
            for reason, number in sorted(documents.dropped.items())
        },
        "documents": documents.num_in,
        "kept": documents.kept,
        "unread_files": source.num_unread,
    }


def _flows(sources: list[dict[str, Any]], totals: dict[str, int], num_tokens: int) -> list[Flow]:
    """Return the flows of tokens that are not nothing, from sources to steps."""
    flows = []
    for one in sources:
        source = Node(one["name"], is_source=True)
        flows += [
            Flow(source, Node(end), one[end]) for end in ("discarded", "validation", "unused")
        ]
        flows.append(Flow(source, _DRAWN, one["drawn"]))
    flows += [
        Flow(_DRAWN, _STEPS, num_tokens),
        Flow(_DRAWN, _LOST, totals["cut"] + totals["dropped"]),
    ]
    return [flow for flow in flows if flow.num_tokens > 0]
