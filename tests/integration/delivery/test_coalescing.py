"""`coalesce`: what waits of several definitions for one identity is one request, and each message is still its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations import registry
from engage_sync.sandbox.options import BULK_UPDATE, USERS_UPDATE, Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from tests.factories.outbox import Outbox

FIELDS = ("one", "two", "three", "four")


def deliver(outbox: Outbox, sandbox: SandboxServer, *, bulk: str = "never", **settings: Any) -> Report:
    config = SimpleNamespace(
        slug="iterable",
        type="iterable",
        settings={"api_key": sandbox.options.api_key, "base_url": sandbox.url, "coalesce": True, "bulk": bulk},
        rate_limits={},
    )
    made = Deliverer(outbox.engine, {"iterable": registry.build(config)}, Settings(**settings), direct_url=outbox.url)
    return asyncio.run(made.run_until_empty())


def said(sandbox: SandboxServer) -> list[Any]:
    """Of each request, in order: the fields that it sets, or the event."""
    return [
        each["body"].get("eventName")
        or {name: value for name, value in each["body"]["dataFields"].items() if name != "email"}
        for each in sandbox.requests()
    ]


@pytest.fixture
def definitions(outbox: Outbox) -> dict[str, int]:
    return {key: outbox.audience(key) for key in FIELDS}


def test_waiting_identifies_of_one_identity_leave_as_one_request(outbox: Outbox, definitions: dict[str, int]) -> None:
    for email in ("ann@x.io", "bob@x.io"):
        for definition in definitions.values():
            outbox.waiting_message(email, definition=definition)
    with SandboxServer() as sandbox:
        report = deliver(outbox, sandbox)
        assert said(sandbox) == [dict.fromkeys(FIELDS, True)] * 2
    assert (report.delivered, report.failed) == (8, 0)
    # Taken in one transaction, each an entry of its own.
    taken = "SELECT count(*), count(DISTINCT delivered_at), max(attempts) FROM delivered GROUP BY identity_value"
    assert outbox.rows(taken) == [(4, 1, 1)] * 2
    assert outbox.rows("SELECT DISTINCT confirmed, enqueued FROM told") == [(True, None)]


def test_order_holds_over_whatever_stands_between(outbox: Outbox, definitions: dict[str, int]) -> None:
    for key in FIELDS[:2]:
        outbox.waiting_message(definition=definitions[key])
    outbox.waiting_message(definition=definitions["one"], call_type="track")
    outbox.waiting_message(definition=definitions["one"], value=False)
    outbox.waiting_message(definition=definitions["three"])
    outbox.waiting_message(definition=definitions["one"], call_type="track", value=False)
    with SandboxServer() as sandbox:
        assert deliver(outbox, sandbox).delivered == 6
        assert said(sandbox) == [
            {"one": True, "two": True},
            "Audience Entered",
            {"one": False, "three": True},
            "Audience Exited",
        ]


def test_a_refused_request_is_taken_apart_and_only_the_wrong_one_fails(
    outbox: Outbox, definitions: dict[str, int]
) -> None:
    """Field "two" is text in the project already."""
    with SandboxServer(Options()) as sandbox:
        outbox.waiting_message("zoe@x.io", definition=definitions["two"], value="text")
        deliver(outbox, sandbox)
        for definition in definitions.values():
            outbox.waiting_message(definition=definition)
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed) == (3, 1)
        assert said(sandbox)[1:] == [dict.fromkeys(FIELDS, True), *[{key: True} for key in FIELDS]]
    ((identity, request),) = outbox.rows("SELECT identity_value, request -> 'body' -> 'dataFields' FROM dead_letters")
    assert (identity, request) == ("ann@x.io", {"email": "ann@x.io", "two": True})
    assert outbox.rows("SELECT DISTINCT attempts FROM delivered WHERE identity_value = 'ann@x.io'") == [(1,)]


def test_faults_lose_and_reorder_nothing(outbox: Outbox, definitions: dict[str, int]) -> None:
    for number in range(20):
        for value in (True, False):
            for definition in definitions.values():
                outbox.waiting_message(f"p{number}@x.io", definition=definition, value=value)
            outbox.waiting_message(f"p{number}@x.io", definition=definitions["one"], call_type="track", value=value)
    with SandboxServer(Options(rate_limits={USERS_UPDATE: 0})) as sandbox:
        sandbox.add_faults(
            {"path": USERS_UPDATE, "kind": "status", "status": 503, "probability": 0.2, "times": 10},
            {"path": USERS_UPDATE, "kind": "reset", "probability": 0.1, "times": 4},
            {"path": USERS_UPDATE, "kind": "lost", "probability": 0.1, "times": 4},
            {"path": USERS_UPDATE, "kind": "status", "status": 400, "probability": 0.1, "times": 3},
        )
        report = deliver(outbox, sandbox, request_timeout=1.0)
        users = sandbox.users()
        assert len(sandbox.events()) == 40
    assert report.delivered + report.failed == 200
    # What was refused joined is sent apart: only a fault that met a single one is a dead letter.
    assert report.failed <= 3
    wrong = [user for user in users if any(user["dataFields"][key] is not False for key in FIELDS)]
    assert len(wrong) <= report.failed


def test_in_bulk_a_user_is_one_entry(outbox: Outbox, definitions: dict[str, int]) -> None:
    for number in range(3):
        for definition in definitions.values():
            outbox.waiting_message(f"p{number}@x.io", definition=definition)
    with SandboxServer() as sandbox:
        assert deliver(outbox, sandbox, bulk="always").delivered == 12
        (request,) = sandbox.requests()
        assert request["path"] == BULK_UPDATE
        assert len(request["body"]["users"]) == 3
        assert all(user["dataFields"][key] is True for user in sandbox.users() for key in FIELDS)
