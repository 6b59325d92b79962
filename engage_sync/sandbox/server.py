"""The application, and two ways to run it: until a signal, or beside a test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from engage_sync.sandbox import control, endpoints, lookup
from engage_sync.sandbox.options import Options
from engage_sync.sandbox.project import Project
from engage_sync.sandbox.state import STATE, State

T = TypeVar("T")


def create_app(options: Options | None = None) -> web.Application:
    app = web.Application(client_max_size=endpoints.READ_LIMIT)
    app[STATE] = State(options or Options())
    app.add_routes([*endpoints.routes(), *control.routes(), *lookup.routes()])
    return app


def run(host: str = "127.0.0.1", port: int = 8091, options: Options | None = None) -> None:
    """Serves until SIGINT or SIGTERM."""
    web.run_app(create_app(options), host=host, port=port, access_log=None, print=None, shutdown_timeout=1)


class SandboxServer:
    """A sandbox in a thread of its own, on a free port of this host, as a context manager.

    Its methods may be called from any thread or loop: each runs between two requests.
    """

    def __init__(self, options: Options | None = None, *, port: int = 0) -> None:
        self.options = options or Options()
        self.port = port
        self._app = create_app(self.options)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> SandboxServer:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = self._stopped
        if stopped is not None:
            self._loop.call_soon_threadsafe(stopped.set)
        self._thread.join()

    def users(self) -> list[dict[str, Any]]:
        return self._between_requests(lambda state: [dict(user.shown()) for user in state.project.users])

    def user(self, email: str) -> dict[str, Any] | None:
        def find(state: State) -> dict[str, Any] | None:
            user = state.project.users.by_email(email)
            return user.shown() if user else None

        return self._between_requests(find)

    def events(self) -> list[dict[str, Any]]:
        """All events, in the order of their first arrival."""
        return self._between_requests(lambda state: [event.shown() for event in state.project.events.values()])

    def requests(self, *, after: int = 0, limit: int = 1_000_000) -> list[dict[str, Any]]:
        """As GET /sandbox/requests: in the order of arrival, with parsed bodies."""
        records = self._between_requests(lambda state: state.records.after(after, limit))
        return [record.shown() for record in records]

    def summary(self) -> dict[str, Any]:
        return self._between_requests(control.summary)

    def add_faults(self, *faults: dict[str, Any]) -> None:
        """Faults as in POST /sandbox/faults."""
        self._between_requests(lambda state: [state.faults.add(fault) for fault in faults])

    def clear_faults(self) -> None:
        self._between_requests(lambda state: state.faults.clear())

    def clear_data(self) -> None:
        self._between_requests(lambda state: state.clear_data())

    def in_project(self, act: Callable[[Project], T]) -> T:
        """What `act` makes of the project's users and events."""
        return self._between_requests(lambda state: act(state.project))

    def _between_requests(self, act: Callable[[State], T]) -> T:
        async def call() -> T:
            return act(self._app[STATE])

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:  # handed to the thread that waits in __enter__
            self._failed = error
            self._ready.set()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _main(self) -> None:
        self._stopped = asyncio.Event()
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self.port = listener.getsockname()[1]
            await web.SockSite(runner, listener).start()
            self._ready.set()
            await self._stopped.wait()
        finally:
            await runner.cleanup()
