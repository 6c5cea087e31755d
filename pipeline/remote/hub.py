"""A folder of a dataset repository on the Hub, at one commit.

Enters: `hf://datasets/ORG/NAME[@REVISION][/PATH]`. Leaves: its files, sorted, and each as a file
that is read by ranges. A revision is looked up once, so that all files are of one commit.

The two addresses that this needs are asked for here, so that waits and refusals are those of
`remote.http`; the client library waits as long as a server tells it to.
Source: huggingface_hub 2.4.0, `hf_api.py` (dataset_info, list_repo_tree), `file_download.py`.
"""

import json
import operator
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urljoin

from pipeline.errors import InputError
from pipeline.remote.http import Client, Patience
from pipeline.remote.ranges import RangeFile

_SCHEME = "hf://"
# Two slashes are one in a path.
_ADDRESS_AS_PATH = re.compile(r"([A-Za-z][\w+.-]+):/+(.*)")
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
_ENDPOINT = "https://huggingface.co"
_SERVER = "check HF_ENDPOINT: what answers there is no server of the Hub"


def is_remote(where: str | Path) -> bool:
    """Return whether this is an address and not a path."""
    return str(where).startswith(_SCHEME)


def check_local(path: Path, expected: str) -> None:
    """Refuse a path that was meant as an address; `expected`: what is read from disks alone.

    Raises: InputError where nothing is at the path, and it looks like one.
    """
    address = _ADDRESS_AS_PATH.fullmatch(str(path))
    if address is not None and not path.exists():
        raise InputError(
            f"{address[1]}://{address[2]}: got an address, expected the path of {expected}",
            "from afar only published parquet is read, as hf://datasets/ORG/NAME[@REVISION][/PATH];"
            " pull anything else, such as MDS shards, and name the folder",
        )


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """The files below a path of a repository, at one commit."""

    where: str
    """The address, with the commit."""
    commit: str
    """40 hex digits."""
    num_bytes: Mapping[str, int]
    """By path below the folder, sorted, how long each file is."""
    client: Client
    """What asks."""
    _root: str
    """The address below which the files lie."""

    @classmethod
    def open(cls, where: str, patience: Patience | None = None) -> "HubFolder":
        """List a folder, or the one file that a path ending in `.parquet` names.

        Raises: InputError for no such address, or one that cannot be listed.
        """
        match = _ADDRESS.fullmatch(where)
        if match is None:
            raise InputError(
                f"{where}: got an address of another form, expected"
                " hf://datasets/ORG/NAME[@REVISION][/PATH]"
            )
        name, revision, path = match[1], unquote(match[2] or "main"), (match[3] or "").strip("/")
        endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
        if not endpoint.startswith(("http://", "https://")):
            raise InputError(f"HF_ENDPOINT: got {endpoint}, expected an address like {_ENDPOINT}")
        token = _token()
        page = f"{endpoint}/datasets/{name}"
        client = Client(endpoint, token=token, access_hint=_hint(page, token), patience=patience)
        api = f"{endpoint}/api/datasets/{name}"
        told = f"hf://datasets/{name}@{revision}"
        info, _ = client.json(f"{api}/revision/{quote(revision, safe='')}", told)
        if not isinstance(info, dict) or not isinstance(info.get("sha"), str):
            raise InputError(
                f"{told}: got {_brief(info)} from {endpoint}, expected its commit", _SERVER
            )
        commit = info["sha"]
        told = f"hf://datasets/{name}@{commit}"
        # A file has no tree of its own.
        folder = path.rpartition("/")[0] if path.endswith(".parquet") else path
        tree = f"{api}/tree/{commit}" + (f"/{quote(folder)}" if folder else "")
        files = _list(client, f"{tree}?recursive=true&expand=false", f"{told}/{folder}".rstrip("/"))
        if path != folder:
            files = {one: size for one, size in files.items() if one == path}
            if not files:
                raise InputError(f"{told}/{path}: got no such file", "check the name")
        cut = len(folder) + 1 if folder else 0
        return cls(
            where=f"{told}/{folder}".rstrip("/"),
            commit=commit,
            num_bytes={one[cut:]: files[one] for one in sorted(files)},
            client=client,
            _root=f"{page}/resolve/{commit}/" + (f"{quote(folder)}/" if folder else ""),
        )

    def file(self, path: str) -> RangeFile:
        """Return one of the files; nothing is read of it yet."""
        url = self._root + quote(path)
        return RangeFile(self.client, url, self.num_bytes[path], f"{self.where}/{path}")


def _list(client: Client, url: str, where: str) -> dict[str, int]:
    """Return the length of each file of a tree, whose pages follow one another."""
    files: dict[str, int] = {}
    following: str | None = url
    while following is not None:
        entries, more = client.json(following, where)
        try:
            found = [entry for entry in entries if entry["type"] == "file"]
            files |= {str(entry["path"]): operator.index(entry["size"]) for entry in found}
            is_listing = isinstance(entries, list)
        except (KeyError, TypeError):
            is_listing = False
        if not is_listing:
            raise InputError(
                f"{where}: got {_brief(entries)} from {following}, expected a list of its files",
                _SERVER,
            )
        following = urljoin(following, more) if more else None
    return files


def _brief(content: object) -> str:
    """Return the beginning of an answer, as JSON."""
    spelled = json.dumps(content)
    return spelled if len(spelled) <= 60 else f"{spelled[:60]}…"


def _token() -> str | None:
    """Return the token that is set, or the one that `hf auth login` saved.

    Raises: InputError for what cannot be sent as one.
    """
    if token := os.environ.get("HF_TOKEN", "").strip():
        return _checked("HF_TOKEN", token)
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH", f"{home}/token")).expanduser()
    try:
        saved = path.read_text(errors="replace").strip()
    except OSError:
        return None
    return _checked(str(path), saved) if saved else None


def _checked(where: str, token: str) -> str:
    # The token itself is never shown.
    if not (token.isascii() and token.isprintable()):
        raise InputError(
            f"{where}: got a token with a line break or a letter that is not ASCII, expected one"
            " line of ASCII",
            "copy the token again",
        )
    return token


def _hint(page: str, token: str | None) -> str:
    if token is None:
        return (
            f"check the name on {page}; if it is gated or private, accept its conditions there and"
            " set HF_TOKEN to a token of your account"
        )
    return f"open {page} with the account of your token, and accept its conditions if it is gated"
