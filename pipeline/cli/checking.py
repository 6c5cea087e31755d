"""Checking: the commands that compare outputs, manifests and orders."""

import argparse
from pathlib import Path

from pipeline.cli.arguments import Commands, half_open, positive, with_json
from pipeline.cli.printing import print_json, print_lines
from pipeline.core.bundled import manifest_path
from pipeline.core.errors import ConfigError


def add_commands(commands: Commands) -> None:
    """Add `verify`, `digest` and `diff`."""
    verify = commands.add_parser(
        "verify",
        parents=[with_json()],
        help="check every byte of an output, or its rows against another order",
    )
    verify.add_argument("folder", metavar="DIR", type=Path, help="the output of a build")
    verify.add_argument(
        "--manifest", metavar="FILE", help="a manifest file, or the name of one that ships"
    )
    verify.add_argument(
        "--against",
        metavar="WHAT",
        help="compare rows in order with: a manifest, another output, published parquet (a folder "
        "or hf://datasets/…), or MDS shards",
    )
    part = verify.add_mutually_exclusive_group()
    part.add_argument("--rows", metavar="A:B", type=half_open, help="only these, from 0")
    part.add_argument("--steps", metavar="A:B", type=half_open, help="only these, from 1")
    part.add_argument("--window", metavar="N", type=positive, help="only this one, from 1")
    verify.add_argument(
        "--view",
        choices=("auto", "stored", "encoder", "decoder"),
        default="auto",
        help="the view of the other side's rows (default: found out)",
    )
    verify.set_defaults(run=_verify)

    digest = commands.add_parser(
        "digest", parents=[with_json()], help="write the manifest of a published order, once"
    )
    digest.add_argument("where", metavar="WHERE", help="as for verify --against")
    digest.add_argument("--out", metavar="FILE", type=Path, required=True, help="where it goes")
    digest.add_argument(
        "--phase", metavar="NAME", help="which phase of an order that has several, such as ext"
    )
    digest.set_defaults(run=_digest)

    diff = commands.add_parser(
        "diff", parents=[with_json()], help="say what differs between two mixtures or orders"
    )
    diff.add_argument("old", metavar="A", help="a mixture, a manifest, an output or an order")
    diff.add_argument("new", metavar="B", help="another of the same kind")
    diff.set_defaults(run=_diff)


def _verify(parsed: argparse.Namespace) -> int:
    if parsed.against is not None:
        return _verify_against(parsed)
    if parsed.rows or parsed.steps or parsed.window or parsed.view != "auto":
        raise ConfigError("--rows, --steps, --window, --view: got no --against, which they need")
    from pipeline.audit.verify import verify

    manifest = None if parsed.manifest is None else manifest_path(parsed.manifest)
    mismatches = verify(parsed.folder, manifest)
    if parsed.json:
        print_json({"out": str(parsed.folder), "mismatches": mismatches})
    elif mismatches:
        print_lines(mismatches)
    else:
        print(f"{parsed.folder}: every file is as the manifest says")
    return 1 if mismatches else 0


def _verify_against(parsed: argparse.Namespace) -> int:
    from pipeline.audit.verify import as_json, lines, verify_against
    from pipeline.core.progress import show_progress

    if parsed.manifest is not None:
        raise ConfigError("--manifest: got --against too, expected only one of them")
    with show_progress() as show:
        report = verify_against(
            parsed.folder,
            parsed.against,
            rows=parsed.rows,
            steps=parsed.steps,
            window=parsed.window,
            view=parsed.view,
            report=show,
        )
    if parsed.json:
        print_json(as_json(report))
    else:
        print_lines(lines(report))
    return 0 if report.equal else 1


def _digest(parsed: argparse.Namespace) -> int:
    from pipeline.core.progress import show_progress
    from pipeline.dataset import check_order_manifest_path, digest_order, write_order_manifest

    check_order_manifest_path(parsed.out)
    with show_progress() as show:
        manifest = digest_order(parsed.where, show, phase=parsed.phase)
    write_order_manifest(manifest, parsed.out)
    if parsed.json:
        print_json({"out": str(parsed.out), **manifest})
        return 0
    print(
        f"{parsed.out}: {manifest['num_rows']:,} rows, {manifest['num_tokens']:,} tokens, sequence "
        f"{manifest['ledger']['sequence_root']}, multiset {manifest['ledger']['multiset_root']}"
    )
    return 0


def _diff(parsed: argparse.Namespace) -> int:
    from pipeline.audit.diff import as_json, diff, lines
    from pipeline.core.progress import show_progress

    with show_progress() as show:
        difference = diff(parsed.old, parsed.new, show)
    if parsed.json:
        print_json(as_json(difference))
    else:
        print_lines(lines(difference))
    return 0 if difference.equal else 1
