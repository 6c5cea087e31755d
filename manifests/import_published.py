"""Make the facts that ship, one file for each repository, from a list of all of them:

    python manifests/import_published.py FACTS.json

FACTS.json is a list of objects with `repo`, `revision`, `path`, `kind`, `value`, `source` (the page
that shows it) and `note` (what was cut off). The files are sorted and written to `published/`
beside this script, so that the same facts give the same bytes.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from pipeline.audit.attest import Fact, contradictions

FOLDER = Path(__file__).with_name("published")
KEYS = ("path", "kind", "value", "revision", "source", "note")


def main() -> None:
    """Read the facts, refuse those that contradict each other, write the files."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        made = by_repository(json.loads(Path(sys.argv[1]).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(
            f"{sys.argv[1]}: got no list of facts ({type(error).__name__}: {error})"
        ) from error
    files = {FOLDER / f"{repo.replace('/', '--')}.json": text for repo, text in made.items()}
    for path, text in files.items():
        path.with_suffix(".new").write_text(text)
    for path in files:
        path.with_suffix(".new").replace(path)
    for stale in sorted(set(FOLDER.glob("*.json")) - files.keys()):
        stale.unlink()


def by_repository(facts: list[dict[str, Any]]) -> dict[str, str]:
    """Return the content of each repository's file. Raises: SystemExit for a contradiction."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    known: set[str] = set()
    for fact in map(_normal, facts):
        told = json.dumps([fact[key] for key in ("repo", "path", "kind", "value")], sort_keys=True)
        if told not in known:
            found[fact.pop("repo")].append(fact)
        known.add(told)
    for repo, own in found.items():
        for problem in contradictions(Fact(repo=repo, **one) for one in own):
            raise SystemExit(f"{problem}; leave one of them out")
    return {repo: _spelled(repo, own) for repo, own in sorted(found.items())}


def _normal(fact: dict[str, Any]) -> dict[str, Any]:
    """Return a fact whose path is a path alone: a remark in parentheses goes to the note."""
    remark = re.fullmatch(r"(\S+) \((.*)\)", fact["path"])
    if remark is None:
        return dict(fact)
    note = "; ".join(filter(None, (remark[2], fact["note"])))
    return {**fact, "path": remark[1], "note": note}


def _spelled(repo: str, facts: list[dict[str, Any]]) -> str:
    ordered = sorted(facts, key=lambda fact: (fact["path"], fact["kind"]))
    lines = (json.dumps({key: fact[key] for key in KEYS}, ensure_ascii=False) for fact in ordered)
    return f'{{"repo": {json.dumps(repo)}, "facts": [\n' + ",\n".join(lines) + "\n]}\n"


if __name__ == "__main__":
    main()
