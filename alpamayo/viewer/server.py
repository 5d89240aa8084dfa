"""The viewer's server: one local page on the loopback interface, which only reads."""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alpamayo.report.templates import environment
from alpamayo.viewer.library import Library
from alpamayo_sim.errors import InputError, one_line

LOOPBACK = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
HTML, JSON, SCRIPT, STYLE, WEBP = (
    "text/html; charset=utf-8",
    "application/json",
    "text/javascript; charset=utf-8",
    "text/css; charset=utf-8",
    "image/webp",
)
SOURCES = {
    "/gallery.js": ("gallery.js",),
    "/watch.js": ("world.js", "player.js", "verdict.js", "watch.js"),
    "/viewer.css": ("palette.css", "player.css", "viewer.css"),
}
NUMBER = r"(\d{1,9})"


class ViewerServer(ThreadingHTTPServer):
    """Serves the episodes of a library to the browsers of this machine.

    Args:
        library: the episodes.
        port: of the loopback interface; 0 for any free one.

    Raises:
        InputError: the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, library: Library, port: int = 0) -> None:
        self.library = library
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot serve on port {port}: {error}; --port 0 takes any free one") from error

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that has gone is no fault."""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests; numbers are all that an address can say, so it cannot name a file."""

    server: ViewerServer
    server_version = "alpamayo"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        hosts = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        if self.headers.get("Host") not in hosts:  # a foreign page that has its name resolved to this machine
            self._answer(HTTPStatus.FORBIDDEN, b"ask 127.0.0.1", "text/plain")
            return
        address = urlsplit(self.path)
        try:
            for pattern, kind, make in ROUTES:
                match = re.fullmatch(pattern, address.path)
                if match:
                    numbers = [int(text) for text in match.groups()]
                    self._answer(HTTPStatus.OK, make(self.server.library, address, *numbers), kind)
                    return
        except (InputError, IndexError) as error:
            self._answer(HTTPStatus.NOT_FOUND, one_line(str(error)).encode(), "text/plain; charset=utf-8")
            return
        self._answer(HTTPStatus.NOT_FOUND, b"no such page", "text/plain")

    def log_message(self, *words: Any) -> None:
        """Write no line for each request."""

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY}
        headers |= {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
        headers |= {"Cache-Control": "private, max-age=3600" if kind == WEBP else "no-store"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _gallery(library: Library, _: Any) -> bytes:
    values = {name: sorted({row[name] for row in library.rows}) for name in ("driver", "family", "outcome")}
    template = environment().get_template("gallery.html.j2")
    return template.render(title=library.folder.resolve().name, rows=library.rows, values=values).encode()


def _watch(library: Library, address: Any) -> bytes:
    """Return the page of one episode, or of several on one clock: /watch?run=3&run=17."""
    asked = [text for text in parse_qs(address.query).get("run", []) if re.fullmatch(NUMBER, text)][:2]
    shown = [library.rows[int(text)] for text in asked]
    if not shown:
        raise InputError("no such episode")
    others = [row for row in library.rows if row["scenario"] == shown[0]["scenario"] and row not in shown]
    return environment().get_template("watch.html.j2").render(rows=shown, others=others).encode()


def _data(library: Library, _: Any, k: int) -> bytes:
    return json.dumps(library.data(k), separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _source(_: Library, address: Any) -> bytes:
    loader = environment()
    return "\n".join(loader.get_template(name).render() for name in SOURCES[address.path]).encode()


ROUTES: list[tuple[str, str, Callable[..., bytes]]] = [
    ("/", HTML, _gallery),
    ("/watch", HTML, _watch),
    (f"/data/{NUMBER}", JSON, _data),
    (f"/cameras/{NUMBER}/{NUMBER}", WEBP, lambda library, _, k, step: library.cameras(k, step)),
    (f"/thumbnail/{NUMBER}", WEBP, lambda library, _, k: library.thumbnail(k)),
    *((re.escape(path), STYLE if path.endswith("css") else SCRIPT, _source) for path in SOURCES),
]
