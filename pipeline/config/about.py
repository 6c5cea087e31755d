"""`About`: what its publisher knows of a data set and no mixture says; every key is optional.

The keys follow what the files of a bundle ask for: the card of the Hub, Croissant, `CITATION.cff`,
and the public summary of training content of the European AI Office.
"""

from pathlib import Path
from typing import Final, Literal

from pipeline.config.settings import NamedSections, Section, optional, setting, settings
from pipeline.config.value_types import (
    FREE_TEXT,
    LINE,
    SOURCE_NAME,
    OneOrMany,
    Text,
)
from pipeline.config.yaml_nodes import Problems, parse_yaml
from pipeline.core.errors import ConfigError
from pipeline.core.regular_file import read_file

SourceKind = Literal["public", "licensed", "private", "crawled", "user", "synthetic", "other"]
"""The parts 2.1 to 2.6 of the public summary; `licensed` and `private` are both of 2.2."""

_LINES: Final = OneOrMany(LINE)
_DATE: Final = Text(
    expected="a date in quotes, such as '2026-11-30'",
    pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
)
_VERSION: Final = Text(
    expected="a version in quotes, such as '1.0.0'",
    pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$",
)
_URL: Final = Text(expected="an http(s) address", pattern=r"^https?://[^\s<>\"{}|\\^`]+$")
_LANGUAGE: Final = Text(
    expected="a code of ISO 639 such as en, or code or multilingual",
    pattern=r"^([a-z]{2,3}|code|multilingual)$",
)
_TASK: Final = Text(expected="a task of the Hub such as text-generation", pattern=r"^[a-z0-9-]+$")
_DOI: Final = Text(expected="a DOI such as 10.1000/182", pattern=r"^10\.[0-9]{4,}/[^\s<>]+$")


@settings
class Provider:
    name: str | None = optional("Who answers for the data or the model.", LINE)
    contact: str | None = optional("How to reach them: an address or e-mail.", LINE)
    representative: str | None = optional(
        "Authorised representative in the Union, with contact, of a provider outside it.", LINE
    )


@settings
class PublishedModel:
    names: tuple[str, ...] | None = optional("Names of the models, with versions.", _LINES)
    based_on: tuple[str, ...] | None = optional("Models that they were made from.", _LINES)
    placed_on_market: str | None = optional("Day that they were placed on the market.", _DATE)


@settings
class Content:
    types: str | None = optional("Kinds of text, such as fiction, news or code.", FREE_TEXT)
    latest_date: str | None = optional("Day on which the newest data was acquired.", _DATE)
    continues: str | None = optional("Whether training goes on with new data.", FREE_TEXT)
    characteristics: str | None = optional(
        "What else is characteristic of the data as a whole.", FREE_TEXT
    )


@settings
class Processing:
    reserved_rights: str | None = optional(
        "What was done to respect rights that are reserved from text and data mining.", FREE_TEXT
    )
    code_of_practice: str | None = optional(
        "Whether the provider signed the Code of Practice for general-purpose AI.", FREE_TEXT
    )
    illegal_content: str | None = optional("What was done to leave illegal content out.", FREE_TEXT)
    other: str | None = optional("Anything else about how the data was processed.", FREE_TEXT)


@settings
class Responsible:
    collection: str | None = optional("How the data was collected.", FREE_TEXT)
    uses: tuple[str, ...] | None = optional("What the data is meant for.", _LINES)
    biases: tuple[str, ...] | None = optional("Known biases.", _LINES)
    limitations: tuple[str, ...] | None = optional("Known limits, and unfit uses.", _LINES)
    personal_information: tuple[str, ...] | None = optional(
        "Personal or sensitive information in it.", _LINES
    )
    social_impact: str | None = optional("What its use may mean to people.", FREE_TEXT)
    maintenance: str | None = optional("Who maintains it, and how.", FREE_TEXT)


@settings
class AboutSource:
    name: str
    """The source's name in the mixture."""
    kind: SourceKind | None = setting(
        "Part of the public summary: public (2.1), licensed or private (2.2), crawled (2.3), user"
        " (2.4), synthetic (2.5), other (2.6).",
        default=None,
    )
    licence: str | None = optional("Licence, where the mixture states none.", LINE)
    licence_text: str | None = optional("File with the licence's own text, beside this one.", LINE)
    url: str | None = optional("Address of its page.", _URL)
    description: str | None = optional("What it is.", FREE_TEXT)
    collected: str | None = optional("When it was collected, such as 2023-01 to 2024-06.", LINE)
    crawler: str | None = optional(
        "Name, operator and behaviour of the crawler: robots.txt, captchas, paywalls.", FREE_TEXT
    )
    domains: tuple[str, ...] | None = optional("Largest domains of what was crawled.", _LINES)
    service: str | None = optional("Service or model that users gave the data to.", FREE_TEXT)
    generated_by: tuple[str, ...] | None = optional("Models that generated it.", _LINES)


@settings
class About:
    folder: Path
    """Of the file, from which `licence_text` is found."""
    title: str | None = optional("Title of the data set.", LINE)
    description: str | None = optional("What the data set is, in paragraphs.", FREE_TEXT)
    authors: tuple[str, ...] | None = optional("Names of persons or groups.", _LINES)
    version: str | None = optional("Version of the data set.", _VERSION)
    date: str | None = optional("Day of publication.", _DATE)
    licence: str | None = optional("Licence of the data set as a whole, by SPDX.", LINE)
    language: tuple[str, ...] | None = optional("Languages of the texts.", OneOrMany(_LANGUAGE))
    url: str | None = optional("Page of the data set.", _URL)
    doi: str | None = optional("DOI of the data set.", _DOI)
    tasks: tuple[str, ...] | None = optional(
        "Tasks of the Hub that it is for; by default those of the kind of model.", OneOrMany(_TASK)
    )
    tags: tuple[str, ...] | None = optional("Further tags.", _LINES)
    provider: Provider = setting("Who provides it.", default=Provider())
    model: PublishedModel = setting("Models trained on it.", default=PublishedModel())
    content: Content = setting("The data as a whole.", default=Content())
    processing: Processing = setting("How it was processed.", default=Processing())
    responsible: Responsible = setting(
        "Keys of Croissant's vocabulary for responsible AI.", default=Responsible()
    )
    sources: tuple[AboutSource, ...] = setting(
        "What is known of each source, by its name in the mixture.",
        NamedSections(Section(AboutSource), SOURCE_NAME),
        default=(),
    )


def load_about(path: Path) -> About:
    """Read an about file. Raises: ConfigError, with a line for every problem."""
    try:
        data = read_file(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: got no file ({reason}), expected an about file") from error
    problems = Problems()
    root = parse_yaml(data, str(path), problems)
    about = None if root is None else Section(About).check(root, "", problems, folder=path.parent)
    problems.raise_if_any()
    assert isinstance(about, About)
    return about
