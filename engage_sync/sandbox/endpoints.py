"""/api/…: Iterable's endpoints. Each request is recorded, may meet a fault, and then the checks, before it acts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from engage_sync.sandbox import forms, leaving
from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.faults import Fault
from engage_sync.sandbox.options import (
    BULK_UPDATE,
    DELETE_USERS,
    EVENTS_TRACK,
    GET_USERS,
    TRACK_BULK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_FORGET,
    USERS_MERGE,
    USERS_UPDATE,
)
from engage_sync.sandbox.records import Record
from engage_sync.sandbox.state import STATE, State

MAX_BODY_BYTES: Final = 4_000_000
# aiohttp's own limit lies above, so that a body over Iterable's still gets Iterable's answer.
READ_LIMIT: Final = 64_000_000

_POSTS: Final = (
    USERS_UPDATE,
    BULK_UPDATE,
    UPDATE_EMAIL,
    USERS_FORGET,
    USERS_MERGE,
    EVENTS_TRACK,
    TRACK_BULK,
    TRACK_PURCHASE,
    UPDATE_CART,
)
_EVENTS_SHOWN: Final = 30
_EVENTS_LIMIT: Final = 200


def routes() -> list[web.RouteDef]:
    return [
        *(web.post(path, _handler(_post)) for path in _POSTS),
        web.delete("/api/users/byUserId/{user_id}", _handler(_delete)),
        web.delete("/api/users/{email}", _handler(_delete)),
        web.get("/api/users/byUserId/{user_id}", _handler(_read)),
        web.get("/api/users/{email}", _handler(_read)),
        web.get("/api/events/{email}", _handler(_read)),
        web.get("/api/webhooks", _handler(_read)),
        web.route("*", "/api/{rest:.*}", _handler(_read)),
    ]


Act = Callable[[State, web.Request, Record], bytes | Failure]


def _handler(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    return recorded(lambda state, request, record: _unauthorized(state, request) or act(state, request, record))


def recorded(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Around what an endpoint does: the record, and whatever fault is due. `act` checks who asks."""

    async def handle(request: web.Request) -> web.StreamResponse:
        state = request.app[STATE]
        record = state.records.arrive(request.method, request.path, time.monotonic(), time.time())
        record.body = await request.read()
        fault = _fault(state, record) if state.faults else None
        if fault is not None and (fault.kind == "reset" or (fault.kind == "status" and fault.when == "before")):
            return _faulty(request, record, fault)
        if fault is not None and fault.kind == "delay" and fault.when == "before":
            await asyncio.sleep(state.faults.pause(fault))
        answer = act(state, request, record)
        match fault.kind if fault is not None else None:
            case "delay" if fault is not None and fault.when == "after":
                await asyncio.sleep(state.faults.pause(fault))
            case "status" if fault is not None:
                return _faulty(request, record, fault)
            case "half":
                return await _cut_in_half(request, record, answer)
            case "lost":
                return _cut(request, record)
        return _answer(request, record, answer)

    return handle


def _post(state: State, request: web.Request, record: Record) -> bytes | Failure:
    refused = _too_much(state, record.path, record)
    if refused is not None:
        return refused
    try:
        body: Any = orjson.loads(record.body)
    except ValueError as error:
        return Failure(status=400, code="BadJsonBody", message=f"Invalid JSON: {error}", params={"obj": str(error)})
    options = state.options
    failure = forms.check(record.path, body, project_type=options.project_type, strict_dates=options.strict_dates)
    if failure is not None:
        return failure
    answer = state.project.act(record.path, body, int(record.unix))
    if not isinstance(answer, Failure):
        state.records.act(record)
    return answer


def _delete(state: State, request: web.Request, record: Record) -> bytes | Failure:
    refused = _too_much(state, DELETE_USERS, record)
    if refused is not None:
        return refused
    answer = leaving.delete(
        state.project, email=request.match_info.get("email"), user_id=request.match_info.get("user_id")
    )
    if not isinstance(answer, Failure):
        state.records.act(record)
    return answer


def _unauthorized(state: State, request: web.Request) -> Failure | None:
    if request.headers.get("Api-Key") == state.options.api_key:
        return None
    params = {"ip": request.remote, "endpoint": request.path}
    return Failure(status=401, code="BadApiKey", message="Invalid API key", params=params)


def _too_much(state: State, endpoint: str, record: Record) -> Failure | None:
    # The rate counts requests as they act: one that a fault delayed counts when it is let on.
    if not state.limits.take(endpoint, time.monotonic()):
        return Failure(status=429, code="RateLimitExceeded", message="Too many requests")
    if len(record.body) > MAX_BODY_BYTES:
        return Failure(status=413, code="BatchTooLarge", message=f"The body is over {MAX_BODY_BYTES} bytes")
    return None


def _read(state: State, request: web.Request, record: Record) -> bytes | Failure:
    path, project = request.path, state.project
    if request.method != "GET":
        return Failure(status=404, code="NotFound", message=f"No {request.method} {path} here")
    if path.startswith("/api/users/") and (refused := _too_much(state, GET_USERS, record)) is not None:
        return refused
    if "user_id" in request.match_info:
        user = project.users.by_user_id(request.match_info["user_id"])
        return orjson.dumps({"user": user.shown()} if user else {})
    if path == "/api/webhooks":
        return orjson.dumps({"webhooks": []})
    if "email" not in request.match_info:
        return Failure(status=404, code="NotFound", message=f"No GET {path} here")
    if path.startswith("/api/users/"):
        user = project.users.by_email(request.match_info["email"])
        return orjson.dumps({"user": user.shown()} if user else {})
    return _events(state, request)


def _events(state: State, request: web.Request) -> bytes | Failure:
    limit = request.query.get("limit", str(_EVENTS_SHOWN))
    if not limit.isdigit() or not 0 < int(limit) <= _EVENTS_LIMIT:
        return Failure(status=400, code="BadParams", message=f"limit must be from 1 to {_EVENTS_LIMIT}")
    events = state.project.events_of(request.match_info["email"])[: int(limit)]
    return orjson.dumps({"events": [event.shown() for event in events]})


def _fault(state: State, record: Record) -> Fault | None:
    try:
        body = orjson.loads(record.body)
    except ValueError:
        body = None
    fault = state.faults.take(record.path, body)
    record.fault = fault.kind if fault else None
    return fault


def _faulty(request: web.Request, record: Record, fault: Fault) -> web.Response:
    if fault.kind == "reset":
        return _cut(request, record)
    request.app[STATE].records.finish(record, fault.status, time.monotonic())
    wanted = fault.answer()
    body = wanted.encode() if isinstance(wanted, str) else orjson.dumps(wanted)
    headers = {"Content-Type": "application/json", **{name: str(value) for name, value in fault.headers.items()}}
    return web.Response(body=body, status=fault.status, headers=headers)


def _cut(request: web.Request, record: Record, *, gently: bool = False) -> web.Response:
    """Closes the connection at once, or `gently` behind what was written; the response returned here never is."""
    request.app[STATE].records.finish(record, None, time.monotonic())
    if request.transport is not None:
        (request.transport.close if gently else request.transport.abort)()
    return web.Response()


async def _cut_in_half(request: web.Request, record: Record, answer: bytes | Failure) -> web.StreamResponse:
    """Closes the connection in the middle of the body that it promised."""
    body = answer.body() if isinstance(answer, Failure) else answer
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    _cut(request, record, gently=True)
    return response


def _answer(request: web.Request, record: Record, answer: bytes | Failure) -> web.Response:
    if isinstance(answer, Failure):
        status, body = answer.status, answer.body()
    else:
        status, body = 200, answer
    request.app[STATE].records.finish(record, status, time.monotonic())
    return web.Response(body=body, status=status, content_type="application/json")
