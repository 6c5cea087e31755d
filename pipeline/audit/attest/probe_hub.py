"""Probe: a few small requests to the Hub that tell how the released rows were made.

Each check asks for the beginnings of a few files or lists, smallest first, and settles one thing;
`conclusions` draws the conclusion from all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pipeline.audit.attest.probe_checks import (
    LAYOUT,
    Answers,
    Sign,
    read_counts,
    read_extension_cut,
    read_extension_rows,
    read_layout,
    read_rows,
)
from pipeline.core.errors import ConfigError, InputError, NetworkError
from pipeline.storage import HubRepository, MissingError, RetryPolicy, parse_hub_address

PRETRAINING: Final = "jhu-clsp/ettin-pretraining-data"
STAGING: Final = "orionweller/generic_data_v2"
EXTENSION: Final = "jhu-clsp/ettin-extension-data"
_SUFFIX = "-tokenized-chunked-{}-512-128-backfill-nodups"
_STACKEXCHANGE = f"train/stackexchange-dolmino-dup/split_31{_SUFFIX.format(8000)}"
_DCLM = (
    f"train/mlfoundations-dclm-baseline-1.0-parquet-sampled-v2/split_10033{_SUFFIX.format(1024)}"
)
_STARCODER = f"train/starcoder/starcoder_0048{_SUFFIX.format(1024)}"
# Of small JSON files and of lists: several times what they have.
_SMALL, _LIST = 4_000, 32_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The beginning of a file, or the list of a folder."""

    path: str
    most_bytes: int
    is_list: bool = False
    """A list that is not there is an empty one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What is asked, and what it settles."""

    settles: str
    repo: str
    requests: tuple[Request, ...]
    read: Callable[[Answers], Iterator[Sign]]

    @property
    def most_bytes(self) -> int:
        return sum(one.most_bytes for one in self.requests)


State = Literal["settled", "refused", "left", "unreachable"]
"""Answered; refused by the server, or answered with something else; not begun, since it could pass
the limit of bytes; not asked, since the server cannot be reached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one check."""

    check: Check
    state: State
    num_bytes: int = 0
    signs: tuple[Sign, ...] = ()
    problem: str = ""
    urls: tuple[str, ...] = ()


CHECKS: Final = (
    Check(
        settles="the cut of the extension",
        repo=EXTENSION,
        requests=(Request(path=f"{_STACKEXCHANGE}/stats.json", most_bytes=_SMALL),),
        read=read_extension_cut,
    ),
    Check(
        settles="whether the counted ids of pre-training are the stored ones",
        repo=STAGING,
        requests=(
            Request(path=f"{_DCLM}/index.json", most_bytes=_SMALL),
            Request(path=f"{_DCLM}/num_tokens.json", most_bytes=_SMALL),
        ),
        read=read_counts,
    ),
    Check(
        settles="what lies at the head of the pre-training repository",
        repo=PRETRAINING,
        requests=tuple(Request(path=one, most_bytes=_LIST, is_list=True) for one in LAYOUT),
        read=read_layout,
    ),
    Check(
        settles="CLS, SEP and bins of the extension",
        repo=EXTENSION,
        requests=(Request(path="train/books/books_0001/shard.00000.mds", most_bytes=64 << 10),),
        read=read_extension_rows,
    ),
    Check(
        settles="everything about pre-training rows",
        repo=STAGING,
        requests=(Request(path=f"{_STARCODER}/shard.00022.mds", most_bytes=640_000),),
        read=read_rows,
    ),
)
"""Smallest first. Source: the published pages of these data sets."""


def probe(
    most_bytes: int,
    where: str | None = None,
    stands_for: str | None = None,
    retry: RetryPolicy | None = None,
) -> Iterator[Outcome]:
    """Yield the outcome of each check, as soon as it is there.

    where: a data set on the Hub, to make only its checks, and at its revision. stands_for: the
    repository that this is a copy of. A check that could pass `most_bytes` is not begun.

    Raises: ConfigError for a data set that no check is of.
    """
    total, is_reachable = 0, True
    for check, repository in _planned(where, stands_for, retry):
        state: State = "left" if total + check.most_bytes > most_bytes else "settled"
        outcome = Outcome(
            check=check,
            state=state if is_reachable else "unreachable",
            urls=tuple(
                repository.folder_url(one.path) if one.is_list else repository.url(one.path)
                for one in check.requests
            ),
        )
        if outcome.state == "settled":
            before = repository.client.num_bytes_read
            outcome = _made(outcome, repository)
            outcome = replace(outcome, num_bytes=repository.client.num_bytes_read - before)
        total += outcome.num_bytes
        is_reachable = outcome.state != "unreachable"
        yield outcome


def _made(outcome: Outcome, repository: HubRepository) -> Outcome:
    try:
        return replace(outcome, signs=_signs(repository, outcome.check))
    except NetworkError as error:
        return replace(outcome, state="unreachable", problem=error.message)
    except InputError as error:
        hint = f"; {error.hint}" if error.hint else ""
        return replace(outcome, state="refused", problem=f"{error.message}{hint}")


def _planned(
    where: str | None, stands_for: str | None, retry: RetryPolicy | None
) -> Sequence[tuple[Check, HubRepository]]:
    name, revision, path = parse_hub_address(where) if where else (None, "main", "")
    if path:
        raise ConfigError(
            f"--probe: got {where}, expected a data set without a path in it",
            "what is asked of each data set is fixed",
        )
    repo = stands_for or name
    checks = [one for one in CHECKS if repo in (None, one.repo)]
    if not checks:
        raise ConfigError(
            f"--probe: got {repo}, expected one of {', '.join(sorted({c.repo for c in CHECKS}))}",
            "name the one that it is a copy of with --as",
        )
    named: Mapping[str, HubRepository] = {
        one: HubRepository.named(name or one, revision, retry)
        for one in dict.fromkeys(check.repo for check in checks)
    }
    return [(check, named[check.repo]) for check in checks]


def _signs(repository: HubRepository, check: Check) -> tuple[Sign, ...]:
    answers = _ask(repository, check)
    try:
        return tuple(check.read(answers))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        where = ", ".join(where for where, _, _ in answers)
        raise InputError(
            f"{where}: got something else than expected ({type(error).__name__}: {error})",
            "look at it",
        ) from error


def _ask(repository: HubRepository, check: Check) -> Answers:
    answers: Answers = []
    for one in check.requests:
        where = f"{repository.where}/{one.path}".rstrip("/")
        if not one.is_list:
            answers.append((where, repository.first_bytes(one.path, one.most_bytes), ()))
            continue
        try:
            names = tuple(repository.first_names(one.path, one.most_bytes))
        except MissingError:
            if not one.path:
                raise
            names = ()
        answers.append((where, b"", names))
    return answers
