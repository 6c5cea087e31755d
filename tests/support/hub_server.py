"""A stand-in for the Hub on loopback, as a process: serves one file at one commit.

Run with the commit and the path of the file; prints its port.
"""

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT, FILE = sys.argv[1], Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does for `resolve` addresses."""

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self._answer()

    def do_GET(self) -> None:
        """Answer with the file."""
        body = self._answer()
        self.wfile.write(body)

    def _answer(self) -> bytes:
        body = FILE.read_bytes()
        if self.path != f"/org/tokenizer/resolve/{COMMIT}/tokenizer.json":
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
