"""A server for the page, on this machine alone."""

import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from accel._live.files import INDEX, content_type, page_files

__all__ = ["PageServer"]

_HOST = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    """Answers with a file of the page, or says that there is none."""

    server: "PageServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what stands before a file."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        body = self.server.files.get(name)
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type(name))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""


class PageServer(ThreadingHTTPServer):
    """Serves the page to this machine until it is closed; ``serve_forever`` does the work.

    Parameters
    ----------
    port : int
        0 takes one that is free.

    Attributes
    ----------
    files : dict
        The bytes of all files by their path.

    Raises
    ------
    OSError
        If the port is taken, or not for us to take.
    """

    daemon_threads = True
    # Else a port stays taken for a minute after its server has ended. Where a socket can be
    # exclusive, on Windows, the same option would let two servers have one port.
    allow_reuse_address = not hasattr(socket, "SO_EXCLUSIVEADDRUSE")

    def __init__(self, port: int = 0) -> None:
        self.files = page_files()
        super().__init__((_HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless a browser has closed its page before all was sent."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{_HOST}:{self.server_address[1]}/"
