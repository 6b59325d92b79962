"""/sandbox/…: reading back what arrived, asking for faults, starting over. Needs no key; answers JSON.

GET    /sandbox/users?limit=N&after=N      all users, in the order in which they were made
GET    /sandbox/users/{email}              one user, or 404
GET    /sandbox/events?after=N&limit=N     all events, in the order of their first arrival
GET    /sandbox/requests?after=N&limit=N   requests above a sequence number, in the order of arrival
GET    /sandbox/summary                    requests by path and status, users, events, repeats
GET    /sandbox/fields                     the types that values have fixed
POST   /sandbox/faults                     one fault or a list of them (see faults.py); GET lists, DELETE clears
DELETE /sandbox/data                       forgets users, events, types and requests; keeps the faults
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from engage_sync.sandbox.state import STATE, State


def routes() -> list[web.RouteDef]:
    return [
        web.get("/sandbox/users", _users),
        web.get("/sandbox/users/{email}", _user),
        web.get("/sandbox/events", _events),
        web.get("/sandbox/requests", _requests),
        web.get("/sandbox/summary", _summary),
        web.get("/sandbox/fields", _fields),
        web.get("/sandbox/faults", _faults),
        web.post("/sandbox/faults", _add_faults),
        web.delete("/sandbox/faults", _clear_faults),
        web.delete("/sandbox/data", _clear_data),
    ]


def summary(state: State) -> dict[str, Any]:
    by_path: dict[str, dict[str, int]] = {}
    for (path, status), count in sorted(state.records.counts.items()):
        by_path.setdefault(path, {})[status] = count
    project = state.project
    return {
        "requests": by_path,
        "total": len(state.records),
        "users": len(project.users),
        "events": len(project.events),
        "repeats": project.repeats,
    }


def json_response(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


async def _users(request: web.Request) -> web.Response:
    after, limit = _window(request, default=1_000_000)
    users = islice(request.app[STATE].project.users, after, after + limit)
    return json_response({"users": [user.shown() for user in users]})


async def _user(request: web.Request) -> web.Response:
    user = request.app[STATE].project.users.by_email(request.match_info["email"])
    return json_response({"error": "no such user"}, 404) if user is None else json_response({"user": user.shown()})


async def _events(request: web.Request) -> web.Response:
    after, limit = _window(request, default=1_000_000)
    events = islice(request.app[STATE].project.events.values(), after, after + limit)
    return json_response({"events": [event.shown() for event in events]})


async def _requests(request: web.Request) -> web.Response:
    after, limit = _window(request, default=10_000)
    records = request.app[STATE].records.after(after, limit)
    return json_response({"requests": [record.shown() for record in records]})


async def _summary(request: web.Request) -> web.Response:
    return json_response(summary(request.app[STATE]))


async def _fields(request: web.Request) -> web.Response:
    project = request.app[STATE].project
    return json_response({"profile": project.profile_types.known(), "events": project.event_types.known()})


async def _faults(request: web.Request) -> web.Response:
    return json_response({"faults": [fault.shown() for fault in request.app[STATE].faults.listed()]})


async def _add_faults(request: web.Request) -> web.Response:
    faults = request.app[STATE].faults
    try:
        wanted = orjson.loads(await request.read())
        added = [faults.add(each) for each in (wanted if isinstance(wanted, list) else [wanted])]
    except ValueError as error:
        return json_response({"error": str(error)}, 400)
    return json_response({"faults": [fault.shown() for fault in added]}, 201)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[STATE].faults.clear()
    return json_response({})


async def _clear_data(request: web.Request) -> web.Response:
    request.app[STATE].clear_data()
    return json_response({})


def _window(request: web.Request, *, default: int) -> tuple[int, int]:
    try:
        after = int(request.query.get("after", "0"))
        limit = int(request.query.get("limit", str(default)))
    except ValueError:
        raise web.HTTPBadRequest(text="after and limit must be whole numbers") from None
    return max(0, after), max(0, limit)
