"""The server of the explorer's pages: on one address, for its own pages alone, until it is told to end."""

import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.view.options import LOCAL, ViewOptions

FIRST_PORT, PORTS = 5006, 100
log = logging.getLogger("polytope_nn.view")


class Refused(RequestHandler):
    """Answers who came by another name: a page of someone else's that has its own name lead here."""

    def prepare(self) -> None:
        """See `tornado.web.RequestHandler`."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("This address is not one that the explorer answers to.\n")


class OwnPages(BokehTornado):
    """Bokeh's application, which hears only requests that say one of these names, as host and as origin."""

    def __init__(self, applications: Any, names: set[str], port: int, **words: Any) -> None:
        self._names, self._port = names, port
        super().__init__(applications, **words)

    def find_handler(self, request: HTTPServerRequest, **words: Any) -> Any:
        """See `tornado.web.Application`."""
        origin = request.headers.get("Origin") or request.headers.get("Sec-Websocket-Origin")
        hosts = [f"//{request.headers.get('Host', '')}", *([origin] if origin else [])]
        if len(request.headers.get_list("Host")) != 1 or not all(map(self.is_own, hosts)):
            return self.get_handler_delegate(request, Refused)
        return super().find_handler(request, **words)

    def is_own(self, address: str) -> bool:
        """Whether an address is this server's, under a name that nobody else can have lead here."""
        try:
            parts = urlsplit(address)
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        return port == self._port and (name in self._names or ("*" in self._names and _is_number(name)))


def names_of(host: str) -> set[str]:
    """The names by which a server on this address is asked for; `*` is any address in numbers."""
    if host in LOCAL:
        return set(LOCAL)
    everywhere = host in ("0.0.0.0", "::")
    return {
        *LOCAL,
        host.lower(),
        *([socket.gethostname().lower(), socket.getfqdn().lower(), "*"] if everywhere else []),
    }


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def bound(options: ViewOptions) -> tuple[list[socket.socket], int]:
    """Sockets and their port. Raises ConfigError where there are none to be had."""
    ports = [options.port] if options.port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        try:
            sockets, found = bind_sockets(options.host, port)
            return list(sockets), int(found)
        except socket.gaierror as error:
            raise ConfigError(
                f"--host {options.host}: this is no address of this machine's ({error.strerror})"
            ) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(
                    f"--host {options.host}, --port {port}: cannot listen there ({error.strerror})"
                ) from error
    if options.port:
        raise ConfigError(f"--port {options.port} is in use by another program: give another, or none for a free one")
    raise ConfigError(f"the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all in use: give a free one by --port")


class Serving(BaseServer):
    """A server of pages that `fill` fills, each by the arguments of its address."""

    def __init__(self, options: ViewOptions, fill: Callable[[Document, dict[str, list[bytes]]], None]) -> None:
        sockets, port = bound(options)
        names = names_of(options.host)
        own = {f"{name}:{port}" for name in names}

        def filled(document: Document) -> None:
            context = document.session_context
            fill(document, dict(context.request.arguments) if context and context.request else {})

        pages = OwnPages(
            {"/": Application(FunctionHandler(filled))}, names, port,
            extra_websocket_origins=["*"] if "*" in names else sorted(own), check_unused_sessions_milliseconds=5000,
        )  # fmt: skip
        server = HTTPServer(pages)
        server.add_sockets(sockets)
        super().__init__(IOLoop.current(), pages, server)
        shown = LOCAL[0] if options.host in ("localhost", "0.0.0.0", "::") else options.host
        self.url = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    def serve(self) -> None:
        """Until SIGINT, SIGTERM or SIGHUP, or `end`."""
        self.start()

        def end(*_: object) -> None:
            self.io_loop.add_callback_from_signal(self.io_loop.stop)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT:
                signal.signal(number, end)
        self.io_loop.start()
        self.stop(wait=False)

    def end(self) -> None:
        """Ends it, from any thread."""
        self.io_loop.add_callback(self.io_loop.stop)
