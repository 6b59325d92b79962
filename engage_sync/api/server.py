"""How uvicorn serves the application."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

# What a request may still take once the server was told to stop: a commit, and the reading of a slow body.
SECONDS_TO_FINISH = 12


class _Server(uvicorn.Server):
    """Leaves signals alone: the daemon has handlers of its own, and tells the server when to stop."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def server(app: ASGIApp, *, host: str, port: int) -> uvicorn.Server:
    """A server for `await serve()`, in the caller's event loop (uvloop, where speed counts)."""
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="auto",  # httptools where it is installed
            loop="auto",
            ws="auto",
            lifespan="auto",
            access_log=False,
            log_config=None,
            server_header=False,
            # Longer than that of common load balancers (60 s), which would else send into a closed connection.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
            proxy_headers=True,
            backlog=2048,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, for `serve(sockets=[…])`: so that the port is known, or its trouble told, before serving."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048, reuse_port=False)
