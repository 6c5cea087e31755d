"""A process that answers as S3 does, and a bucket in it, for tests of what stores hold."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage import open_writable

_MOTO = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
_SETTINGS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}


@contextmanager
def serve_store(folder: Path, bucket: str) -> Iterator[None]:
    """Serve an empty bucket until the block ends; the environment says where it is."""
    import s3fs

    before = {name: os.environ.get(name) for name in ("AWS_ENDPOINT_URL", *_SETTINGS)}
    log = folder / "store.log"
    # Into a file: a pipe that nobody reads is full after some hundred requests.
    with log.open("w") as told:
        process = subprocess.Popen([sys.executable, "-c", _MOTO], stdout=told, stderr=told)
    try:
        os.environ.update(_SETTINGS, AWS_ENDPOINT_URL=_address(log))
        s3fs.S3FileSystem.clear_instance_cache()
        # Those of an earlier server may have the same addresses.
        open_writable.cache_clear()
        s3fs.S3FileSystem().mkdir(bucket)
        yield
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        process.kill()
        process.wait(timeout=30)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _address(log: Path) -> str:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        for line in log.read_text().splitlines():
            if "Running on" in line:
                return line.split()[-1]
        time.sleep(0.05)
    raise AssertionError(f"no store: {log.read_text()}")
