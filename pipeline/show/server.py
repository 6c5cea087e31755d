"""The server of the page: static files and the answers of views, on this machine alone.

Whoever knows the token in the address may read; there is nothing to write. A page of another origin
can neither guess the token nor read an answer, and a name that was pointed at this machine is
refused by its Host header.
"""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import compare_digest, token_urlsafe
from typing import Any, Final

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.errors import (
    ConfigError,
    InternalError,
    MismatchError,
    NotFoundError,
    PipelineError,
)
from pipeline.show.queries import answer
from pipeline.show.row_view import row_view
from pipeline.show.shown_order import Shown

HOST: Final = "127.0.0.1"
PAGE: Final = Path(__file__).with_name("page")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_JSON = "application/json"
_USUAL_PORT = 80
# The page opens first.
_WARM_AFTER_SECONDS = 2.0


class Guard:
    """Refuses what is not a GET by the token of this server; sets the headers of all answers."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._prefix = f"/{token}/"
        # Of the usual port, clients leave the number out.
        ports = (f":{port}", "") if port == _USUAL_PORT else (f":{port}",)
        self._hosts = {f"{name}{one}".encode() for name in (HOST, "localhost") for one in ports}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        refused = self._refuse(scope)
        if refused is not None:
            await refused(scope, receive, send_with_headers)
            return
        path = scope["path"].removeprefix(self._prefix.rstrip("/"))
        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive,
                        send_with_headers)  # fmt: skip

    def _refuse(self, scope: Scope) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return error_response(400, "got a Host header of another server")
        given = scope["path"].encode("utf-8", "surrogateescape")[: len(self._prefix)]
        if not compare_digest(given, self._prefix.encode()):
            return error_response(404, "not found")
        if scope["method"] != "GET":
            return error_response(405, f"got {scope['method']}, expected GET")
        return None


def make_app(shown: Shown, token: str, port: int) -> ASGIApp:
    """Return the application that shows an order, for the address of a token at a port."""
    app = Starlette(
        routes=[
            Route("/api/{name}", _api(shown)),
            Route("/{path:path}", _static),
        ]
    )
    return Guard(app, token, port)


def _api(shown: Shown) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        name = request.path_params["name"]
        query = request.scope["query_string"].decode("ascii", "replace")
        # A view may wait for an address that does not answer; Ctrl-C does not wait for the view.
        return await anyio.to_thread.run_sync(
            respond_to, shown, name, query, abandon_on_cancel=True
        )

    return respond


def respond_to(shown: Shown, name: str, query: str) -> Response:
    """Return the response of a view, or of what it raises."""
    try:
        content = answer(shown, name, query)
        # ASCII, since a record may have halves of surrogate pairs.
        return Response(json.dumps(content, allow_nan=False), media_type=_JSON)
    except PipelineError as error:
        return error_response(_status(error), error.message, error.hint)
    except Exception as error:
        return error_response(500, f"unexpected {type(error).__name__}: {error}")


def _status(error: PipelineError) -> int:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, MismatchError):
        return 409
    return 500 if isinstance(error, InternalError) else 400


def error_response(status: int, message: str, hint: str | None = None) -> Response:
    content = json.dumps({"error": message, "hint": hint})
    return Response(content, status_code=status, media_type=_JSON)


async def _static(request: Request) -> Response:
    name = request.path_params["path"] or "index.html"
    # A name is compared and never opened, so that none leads out of the folder.
    names = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}
    media_type = _TYPES.get(f".{name.rpartition('.')[2]}")
    if media_type is None or name not in names:
        return error_response(404, "not found")
    return FileResponse(PAGE / name, media_type=media_type)


def listen(port: int | None) -> socket.socket:
    """Return a socket at a port of this machine, by default a free one.

    Raises: ConfigError when another program has it, or it may not be taken.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port or 0))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ConfigError(
            f"--port {port}: cannot be used: {error.strerror}",
            "name another port, or none for a free one",
        ) from error
    return found


def _warm(shown: Shown) -> None:
    """Load the tokenizer and compiled code, so that the first row and search take no longer."""
    with suppress(Exception):
        # Seconds, in which other views are answered.
        _ = shown.token_text, shown.special
        if shown.trace is not None:
            shown.trace.patterns(" ")
        with shown.lock:
            row_view(shown, 0)


def serve(shown: Shown, found: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve an order at a socket until it is interrupted; `ready` is called with the address."""
    shown.is_served = True
    token, port = token_urlsafe(16), found.getsockname()[1]
    config = uvicorn.Config(
        make_app(shown, token, port),
        log_config=None,
        # What goes wrong in a view is in its answer; what is left is junk, and Ctrl-C.
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http="h11",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    warming = threading.Timer(_WARM_AFTER_SECONDS, _warm, [shown])
    warming.daemon = True
    warming.start()
    ready(f"http://{HOST}:{port}/{token}/")
    server.run(sockets=[found])
