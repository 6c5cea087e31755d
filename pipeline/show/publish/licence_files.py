"""The files about licences: a table of all sources, and the text of each licence once.

Their names are those of REUSE: `LICENSES/IDENTIFIER.txt`. A source's own text, which the about file
names, is `LICENSES/sources/NAME.txt`.

Source: https://reuse.software/spec-3.3/
"""

from pipeline.core.errors import ConfigError
from pipeline.core.regular_file import read_file
from pipeline.show.publish.bundle_record import LICENCE_TABLE, LICENCES
from pipeline.show.publish.licences import licence_text, spdx_page
from pipeline.show.publish.markdown import inline, table
from pipeline.show.publish.published_facts import NOT_KNOWN, Facts, SourceFacts


def licence_files(facts: Facts) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the files by name, and the licences of which no text is at hand, sorted.

    Raises: ConfigError for a text that the about file names and that cannot be read.
    """
    own = {
        f"{LICENCES}/sources/{one.name}.txt": _own_text(facts, one)
        for one in facts.sources
        if one.about.licence_text is not None
    }
    stated = {one.licence for one in facts.sources} | {facts.licence}
    identifiers = {name for one in stated if one is not None for name in one.identifiers}
    texts = {name: licence_text(name) for name in sorted(identifiers)}
    files = {f"{LICENCES}/{name}.txt": text for name, text in texts.items() if text is not None}
    without = {
        one.licence.name
        for one in facts.sources
        if one.licence is not None
        and one.about.licence_text is None
        and not (one.licence.identifiers and all(texts[name] for name in one.licence.identifiers))
    }
    return {LICENCE_TABLE: _table(facts, {*own, *files}), **files, **own}, tuple(sorted(without))


def _own_text(facts: Facts, source: SourceFacts) -> str:
    assert source.about.licence_text is not None
    where = f"sources.{source.name}.licence_text"
    path = facts.about.folder / source.about.licence_text
    # What a bundle has is published, so a file of elsewhere is not taken by a slip or a trick.
    if not path.resolve().is_relative_to(facts.about.folder.resolve()):
        raise ConfigError(
            f"{where}: got {source.about.licence_text}, which leads out of the about file's folder,"
            " expected a file in it",
            "copy the text there",
        )
    try:
        return read_file(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where}: {path} cannot be read: {error}, expected a file of text in UTF-8"
        ) from error


def _table(facts: Facts, files: set[str]) -> str:
    whole = NOT_KNOWN if facts.licence is None else inline(facts.licence.name)
    rows = [_row(one, files) for one in facts.sources]
    return (
        f"# Licences\n\nOf the data set as a whole: {whole}.\n\n"
        "Each source is under terms of its own, as they were stated:\n\n"
        + table(("source", "licence", "as stated", "stated in", "text"), rows)
        + "\n"
    )


def _row(source: SourceFacts, files: set[str]) -> list[str]:
    licence = source.licence
    own = f"{LICENCES}/sources/{source.name}.txt"
    texts = [f"[text]({own})"] if own in files else []
    for name in () if licence is None else licence.identifiers:
        here = f"{LICENCES}/{name}.txt"
        texts.append(f"[{name}]({here if here in files else spdx_page(name)})")
    if licence is None:
        return [source.name, "not stated", "", "", ", ".join(texts)]
    return [
        source.name,
        inline(licence.spdx or NOT_KNOWN),
        inline(licence.stated),
        source.stated_in or "",
        ", ".join(texts) or NOT_KNOWN,
    ]
