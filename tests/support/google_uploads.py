"""Uploads of Google's XML interface, passed on to a server that takes those of the JSON one.

Of an object in pieces the pieces are kept here until it is complete. All else is passed on, with
names escaped no more than they must be, as the server wants them.
"""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import parse_qs, quote, unquote, urlsplit

from support.proxies import ProxyHandler, serving

_BOUNDARY = uuid.uuid4().hex.encode()


def _plain(path: str) -> str:
    bucket, _, name = path.removeprefix("/").partition("/")
    return f"/{bucket}/{quote(unquote(name), safe='')}" if name else f"/{bucket}"


@contextmanager
def serve_uploads(store: str) -> Iterator[str]:
    """Serve at the address that is yielded until the block ends."""
    host = urlsplit(store).netloc
    parts: dict[tuple[str, int], bytes] = {}

    class Handler(ProxyHandler):
        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            upload = query.get("uploadId", ["1"])[0]
            if self.command == "POST" and "uploads" in query:
                name = "InitiateMultipartUploadResult"
                found = f"<Bucket/><Key/><UploadId>{len(parts)}</UploadId>"
                self.answer(200, {}, f"<{name}>{found}</{name}>".encode())
            elif self.command == "PUT" and "partNumber" in query:
                parts[upload, int(query["partNumber"][0])] = body
                self.answer(200, {"ETag": f'"{query["partNumber"][0]}"'}, b"")
            elif self.command == "POST" and "uploadId" in query:
                numbers = map(int, re.findall(rb"<PartNumber>(\d+)", body))
                version = self._upload(url.path, b"".join(parts[upload, one] for one in numbers))
                found = "<CompleteMultipartUploadResult><Location/><Bucket/><Key/><ETag>x</ETag>"
                self.answer(200, version, f"{found}</CompleteMultipartUploadResult>".encode())
            elif self.command == "PUT":
                self.answer(*self._put(url.path, body))
            else:
                path = f"{_plain(url.path)}?{url.query}"
                self.answer(*self._ask(self.command, path, body, dict(self.headers)))

        def _put(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
            try:
                return 200, self._upload(path, body), b""
            except ValueError as error:
                return error.args[0], {}, b""

        def _upload(self, path: str, body: bytes) -> dict[str, str]:
            """Upload an object; return the headers of its version. Raises: ValueError: a status."""
            _, bucket, name = unquote(path).split("/", 2)
            condition = self.headers.get("x-goog-if-generation-match")
            also = "" if condition is None else f"&ifGenerationMatch={condition}"
            # Of an upload of the other kind, without a head, it ignores conditions.
            to = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart{also}"
            head = json.dumps({"name": name}).encode()
            kinds = (b"application/json", head), (b"application/octet-stream", body)
            parts = [b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (_BOUNDARY, *one) for one in kinds]
            sent = b"".join(parts) + b"--%b--" % _BOUNDARY
            kind = f"multipart/related; boundary={_BOUNDARY.decode()}"
            status, _, data = self._ask("POST", to, sent, {"Content-Type": kind})
            if status != 200:
                raise ValueError(status)
            about = json.loads(data)
            return {"ETag": about["etag"], "x-goog-generation": about["generation"]}

        def _ask(
            self, method: str, path: str, body: bytes, headers: dict[str, str]
        ) -> tuple[int, dict[str, str], bytes]:
            upstream = HTTPConnection(host, timeout=60)
            kept = {name: value for name, value in headers.items() if name.lower() != "host"}
            upstream.request(method, path, body, kept)
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            return answer.status, dict(answer.getheaders()), data

    with serving(Handler) as address:
        yield address
