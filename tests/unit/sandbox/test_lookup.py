"""The page on which people look a user up."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from engage_sync.sandbox.options import EVENTS_TRACK, USERS_UPDATE, Options
from engage_sync.sandbox.project import Project
from engage_sync.sandbox.server import SandboxServer

NASTY = """<script>alert(1)</script>"'&"""


class Reader(HTMLParser):
    """The tags of a page, and the text of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(Options()) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def ann(server: SandboxServer) -> None:
    _act(server, USERS_UPDATE, {"email": "a@x.io", "userId": "u/1", "dataFields": {NASTY: NASTY, "plan": {"a": [1]}}})
    _act(server, EVENTS_TRACK, {"email": "a@x.io", "eventName": NASTY, "id": NASTY, "createdAt": 1_772_360_430})


def get(server: SandboxServer, question: str | None = None) -> tuple[int, Reader]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/" if question is None else f"/?q={quote(question, safe='')}")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.status, Reader(page)


@pytest.mark.parametrize("question", ["a@x.io", " A@X.io ", "u/1"])
def test_user_is_shown_with_fields_and_events(server: SandboxServer, question: str) -> None:
    status, page = get(server, question)
    assert status == 200
    for text in ("a@x.io", "u/1", "plan", "Events (1)", "2026-03-01 10:20:30 UTC"):
        assert text in page.texts, text
    assert page.texts.count(NASTY) == 4  # name and value of a field, name and id of an event


@pytest.mark.parametrize("question", [None, "a@x.io", NASTY])
def test_nothing_that_was_sent_becomes_part_of_the_page(server: SandboxServer, question: str | None) -> None:
    _, page = get(server, question)
    assert "script" not in page.tags
    assert all(address.startswith("/") and not address.startswith("//") for address in page.addresses)


def test_unknown_user_is_said_to_be_unknown(server: SandboxServer) -> None:
    status, page = get(server, NASTY)
    assert status == 404
    assert NASTY in page.texts


def test_front_page_leads_to_the_users(server: SandboxServer) -> None:
    status, page = get(server)
    assert status == 200
    assert {"/?q=a%40x.io", "/?q=u%2F1"} <= set(page.addresses)


def _act(server: SandboxServer, path: str, body: dict[str, object]) -> None:
    def act(project: Project) -> object:
        return project.act(path, body, 0)

    assert isinstance(server.in_project(act), bytes)
