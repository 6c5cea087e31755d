"""Processes that answer as the stores of Azure and Google do, where they are installed."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from email.utils import formatdate
from pathlib import Path
from types import MappingProxyType
from unittest import mock

from support.google_uploads import serve_uploads

Serve = Callable[[Path, str], AbstractContextManager[None]]
"""Serves an empty bucket of a name; a folder is for what it says."""
# What everyone's Azurite has, by its documentation.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"
NO_FAKE_GCS = "no fake-gcs-server: get its binary, and name it in FAKE_GCS"
NO_AZURITE = "no azurite: npm install azurite, and name its azurite-blob in AZURITE"


def azurite() -> str | None:
    """Return the command of Azurite: that on the path, or in the folder that AZURITE names."""
    found = os.environ.get("AZURITE") or shutil.which("azurite-blob")
    return found if found and Path(found).exists() else None


@contextmanager
def serve_azure(folder: Path, container: str) -> Iterator[None]:
    """Serve an empty container until the block ends; the environment says where it is."""
    command, port = azurite(), _free_port()
    assert command is not None
    with (folder / "azurite.log").open("w") as told:
        process = subprocess.Popen(
            [command, "--silent", "--blobPort", str(port), "--inMemoryPersistence",
             "--skipApiVersionCheck", "--disableTelemetry"],
            cwd=folder, stdout=told, stderr=told,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    variables = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": address}
    try:
        _make_container(f"{address}/{_ACCOUNT}", container)
        with mock.patch.dict(os.environ, variables):
            yield
    finally:
        process.kill()
        process.wait(timeout=30)


def fake_gcs() -> str | None:
    """Return the command of fake-gcs-server: that on the path, or the one that FAKE_GCS names."""
    found = os.environ.get("FAKE_GCS") or shutil.which("fake-gcs-server")
    return found if found and Path(found).exists() else None


@contextmanager
def serve_google(folder: Path, bucket: str) -> Iterator[None]:
    """Serve an empty bucket until the block ends; the environment says where it is.

    The server takes uploads by Google's JSON interface alone, so those of the XML interface, with
    their conditions, are passed on in that form.
    """
    command, port = fake_gcs(), _free_port()
    assert command is not None
    address = f"http://127.0.0.1:{port}"
    with (folder / "google.log").open("w") as told:
        process = subprocess.Popen(
            [command, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
             "-backend", "memory", "-public-host", f"127.0.0.1:{port}"],
            stdout=told, stderr=told,
        )  # fmt: skip
    try:
        made = json.dumps({"name": bucket}).encode()
        _ask_until_it_runs(f"{address}/storage/v1/b?project=test", "POST", made)
        with (
            serve_uploads(address) as uploads,
            mock.patch.dict(os.environ, {"STORAGE_EMULATOR_HOST": uploads}),
        ):
            yield
    finally:
        process.kill()
        process.wait(timeout=30)


def _make_container(account: str, container: str) -> None:
    date, empty = formatdate(usegmt=True), "\n" * 12
    signed = (
        f"PUT{empty}x-ms-date:{date}\nx-ms-version:{_VERSION}\n"
        f"/{_ACCOUNT}/{_ACCOUNT}/{container}\nrestype:container"
    )
    key = hmac.new(base64.b64decode(_KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": _VERSION,
        "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(key).decode()}",
        "Content-Length": "0",
        "Content-Type": "",
    }
    _ask_until_it_runs(f"{account}/{container}?restype=container", "PUT", b"", headers)


def _ask_until_it_runs(
    url: str, method: str, data: bytes, headers: Mapping[str, str] = MappingProxyType({})
) -> None:
    stop = time.monotonic() + 60
    while True:
        asked = urllib.request.Request(url, method=method, data=data, headers=dict(headers))
        try:
            urllib.request.urlopen(asked).close()
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from error
        except OSError:
            assert time.monotonic() < stop, "no store"
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
