"""`ettin-data push`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress
from pipeline.core.units import format_bytes


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "push",
        run,
        "upload a bundle to a data set on the Hub",
        "Without --upload, it only says what it would do. What the data set has already is not sent"
        " again, so a push that broke goes on. The token is that of `hf auth login` or HF_TOKEN.",
        examples=(
            "ettin-data push bundle hf://datasets/lena/letters",
            "ettin-data push bundle hf://datasets/lena/letters@draft --upload",
        ),
        guide="docs/guide/publish.md#push-it-to-the-hub",
    )
    options.add("bundle BUNDLE", "folder that `ettin-data bundle` wrote", Path)
    what = "data set, hf://datasets/ORG/NAME[@BRANCH]; one that is not there is created, private"
    options.add("address ADDRESS", what)
    options.add("--upload", "send the files; without it, nothing is changed")
    options.add_progress()


def run(parsed: Arguments) -> int:
    from pipeline.show.publish import plan_push, push_bundle

    plan = plan_push(parsed.bundle, parsed.address)
    content = {
        "address": parsed.address,
        "exists": plan.head is not None,
        "sent": list(plan.sent),
        "num_bytes": plan.num_bytes,
        "kept": list(plan.kept),
        "removed": list(plan.removed),
    }
    counts = (
        f"{len(plan.sent):,} files to send ({format_bytes(plan.num_bytes)}), {len(plan.kept):,} are"
        f" there, {len(plan.removed):,} to remove"
    )
    if not parsed.upload:
        lines = [f"send {one}: {format_bytes(plan.files[one].num_bytes)}" for one in plan.sent]
        lines += [f"remove {one}" for one in plan.removed]
        place = "" if plan.head is not None else "a new private data set, "
        lines.append(f"{parsed.address}: {place}{counts}; nothing was sent, --upload does it")
        print_result(parsed, {**content, "commit": None}, lines)
        return 0
    with show_progress(parsed) as show:
        commit = push_bundle(parsed.bundle, plan, show)
    print_result(
        parsed, {**content, "commit": commit}, [f"{parsed.address}: {counts}; now at {commit}"]
    )
    return 0
