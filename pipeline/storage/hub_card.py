"""The card of a data set on the Hub: a configuration and a split -> the globs of its files. Pure.

Source: https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from pipeline.config import shallow_events
from pipeline.core.errors import InputError

Value = TypeVar("Value")

CARD = "README.md"
USE_FILES = "name the files with `files:` instead"


def card_patterns(
    where: str, card: bytes, config: str | None, split: str | None
) -> tuple[str, ...]:
    """Return the globs of a split, or the only one, of a configuration, or the default or only one.

    Raises: InputError when the card names no files, or not those that were asked for.
    """
    configs = _configs(where, card)
    name = config if config is not None else _default(where, configs)
    splits = _pick(where, "configuration", name, configs)
    if split is None and len(splits) > 1:
        raise InputError(
            f"{where}: got no split, expected one of {', '.join(splits)}", "name it with `split:`"
        )
    return _pick(where, "split", next(iter(splits)) if split is None else split, splits)


def _configs(where: str, card: bytes) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return globs by split by configuration; which is the default, by the name ""."""
    _, fence, rest = f"\n{card.decode(errors='replace')}".replace("\r\n", "\n").partition("\n---\n")
    try:
        declared = _parse(rest.partition("\n---")[0]) if fence else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A date such as 2026-13-01 is a ValueError.
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: broken front matter: {reason}", USE_FILES) from error
    given = declared.get("configs") if isinstance(declared, dict) else None
    if not given:
        raise InputError(f"{where}: got no configs, expected some with data_files", USE_FILES)
    configs = {}
    try:
        for one in given:
            name = _text(one["config_name"])
            configs[name] = _splits(one["data_files"])
            if one.get("default"):
                configs[""] = configs[name]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{where}: got malformed configs, expected a config_name and data_files in each",
            USE_FILES,
        ) from error
    return configs


def _splits(data_files: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(data_files, str):
        return {"train": (data_files,)}
    if all(isinstance(one, str) for one in data_files):
        return {"train": tuple(data_files)}
    splits = {}
    for one in data_files:
        path = one["path"]
        splits[_text(one["split"])] = (path,) if isinstance(path, str) else tuple(map(_text, path))
    return splits


def _parse(text: str) -> Any:
    for _ in shallow_events(text):
        pass
    return yaml.safe_load(text)


def _text(value: object) -> str:
    # Spelled out, lists that aliases repeat may have no end.
    if isinstance(value, list | dict | set | tuple):
        raise TypeError
    return str(value)


def _default(where: str, configs: Mapping[str, object]) -> str:
    if "" in configs or len(configs) == 1:
        return next(iter(configs)) if len(configs) == 1 else ""
    if "default" in configs:
        return "default"
    raise InputError(
        f"{where}: got no configuration, expected one of {', '.join(configs)}",
        "name it with `config:`",
    )


def _pick(where: str, what: str, name: str, known: Mapping[str, Value]) -> Value:
    if name not in known:
        names = ", ".join(one for one in known if one)
        raise InputError(
            f'{where}: got {what} "{name}", expected one of {names}', f"check `{what[:6]}:`"
        )
    return known[name]
