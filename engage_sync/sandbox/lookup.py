"""GET /: a page to look a user up by email or userId, as people do in Iterable itself.

One page without scripts or anything from elsewhere; whatever was sent to the stand-in is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, Final
from urllib.parse import quote

import orjson
from aiohttp import web

from engage_sync.sandbox.project import Event, Project
from engage_sync.sandbox.state import STATE
from engage_sync.sandbox.users import User

# Enough to look at; the rest is under /sandbox/.
USERS_SHOWN: Final = 50
EVENTS_SHOWN: Final = 200

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1f2430 }
input { font: inherit; padding: .4rem .6rem; width: 22rem; max-width: 70% }
button { font: inherit; padding: .4rem 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem }
th, td { border-bottom: 1px solid #d8dce4; padding: .35rem .6rem; text-align: left; vertical-align: top }
th { background: #f3f5f8 }
td { overflow-wrap: anywhere; white-space: pre-wrap }
.note { color: #5a6272 }
@media (prefers-color-scheme: dark) {
  body { background: #14171d; color: #e4e7ee } th { background: #222731 } th, td { border-color: #333a47 }
  a { color: #8ab4ff } .note { color: #98a1b3 }
}
"""


def routes() -> list[web.RouteDef]:
    return [web.get("/", _page)]


async def _page(request: web.Request) -> web.Response:
    project = request.app[STATE].project
    asked = request.query.get("q", "").strip()
    user = project.users.by_email(asked) or project.users.by_user_id(asked) if asked else None
    body = page(project, asked, user)
    status = 404 if asked and user is None else 200
    return web.Response(text=body, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)


def page(project: Project, asked: str, user: User | None) -> str:
    """The whole page as HTML: what was asked for, or without a question the users made last."""
    if user is not None:
        content = _user(project, user)
    elif asked:
        content = f"<p>Nobody here has the email or userId <b>{escape(asked)}</b>.</p>"
    else:
        content = _users(list(project.users)[: -USERS_SHOWN - 1 : -1])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(f"{asked} · " if asked else "")}Contact lookup · sandbox</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Contact lookup</h1>
<p class="note">The stand-in for Iterable: {escape(project.project_type)} project, {len(project.users):,} users,
{len(project.events):,} events.</p>
<form method="get" action="/">
<label for="q">Email or userId</label>
<input id="q" name="q" type="search" value="{escape(asked)}" autofocus>
<button>Look up</button>
</form>
{content}
</body>
</html>
"""


def _user(project: Project, user: User) -> str:
    fields = {"email": user.email, "userId": user.user_id, **user.data_fields}
    key = user.user_id if project.project_type == "user_id" else user.email or user.user_id
    events = project.events_of(key or "")
    shown = events[:EVENTS_SHOWN]
    more = f" (the newest {EVENTS_SHOWN} of {len(events):,})" if len(events) > EVENTS_SHOWN else f" ({len(events):,})"
    return (
        f"<h2>{escape(user.email or user.user_id or '')}</h2>"
        f'<p class="note">{user.updates:,} updates</p>'
        f"<h3>Fields</h3>{_table(('Field', 'Type', 'Value'), _fields(project, fields))}"
        f"<h3>Events{more}</h3>{_table(('When', 'Event', 'Fields', 'Id'), map(_event, shown))}"
    )


def _users(users: Iterable[User]) -> str:
    rows = [(_link(user.email), _link(user.user_id), escape(f"{user.updates:,}")) for user in users]
    heading = "<h2>Users made last</h2>" if rows else '<p class="note">Nobody is known yet.</p>'
    return heading + (_table(("Email", "userId", "Updates"), rows) if rows else "")


def _fields(project: Project, fields: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    types = project.profile_types.known()
    for name in sorted(fields, key=lambda name: (name not in ("email", "userId"), name)):
        if fields[name] is not None:
            kind = types.get(name, "string" if isinstance(fields[name], str) else "")
            yield escape(name), escape(kind), escape(_text(fields[name]))


def _event(event: Event) -> tuple[str, ...]:
    when = datetime.fromtimestamp(event.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return escape(when), escape(event.name), escape(_text({**event.data_fields, **event.rest})), escape(event.id)


def _link(identity: str | None) -> str:
    return "" if identity is None else f'<a href="/?q={quote(identity, safe="")}">{escape(identity)}</a>'


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """`rows` hold HTML, escaped already."""
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"
