"""The stand-in sends webhooks as Iterable does."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from engage_sync.destinations.iterable import webhooks
from engage_sync.sandbox.server import SandboxServer
from engage_sync.sandbox.webhooks import EVENTS
from tests.factories.http import Recorded, Server, serving


def send(**asked: Any) -> tuple[httpx.Response, list[Recorded]]:
    """What the sandbox answers, and what the URL that it was given got. `url` is that of a server that is there."""

    async def sent() -> tuple[httpx.Response, list[Recorded]]:
        receiver = Server()
        async with serving(receiver), httpx.AsyncClient(timeout=30) as client:
            with SandboxServer() as sandbox:
                answer = await client.post(
                    f"{sandbox.url}/sandbox/webhooks",
                    json={"url": f"{receiver.url}/hook", "email": "ann@x.io", **asked},
                )
        return answer, receiver.requests

    return asyncio.run(sent())


def test_every_event_that_it_knows_can_be_read() -> None:
    answer, got = send(secret="s3", userId="u1")
    assert answer.status_code == 200
    assert [each["eventName"] for each in answer.json()["sent"]] == list(EVENTS)
    assert {each["status"] for each in answer.json()["sent"]} == {200}
    assert {request.headers["Authorization"] for request in got} == {"Basic s3"}
    read = [webhooks.read(request.body) for request in got]
    assert all(each.is_known for each in read)
    assert [each.event for each in read] == list(EVENTS)
    assert {each.call["userId"] for each in read} == {"u1"}
    assert {each.call["context"]["traits"]["email"] for each in read} == {"ann@x.io"}
    assert len({each.call["messageId"] for each in read}) == len(EVENTS)


def test_each_delivery_can_be_repeated_and_has_its_time() -> None:
    answer, got = send(events=["emailOpen", "journeyExit"], times=2, createdAt=1_767_380_000, authType="NoAuth")
    assert [(each["eventName"], each["status"]) for each in answer.json()["sent"]] == [
        ("emailOpen", 200), ("emailOpen", 200), ("journeyExit", 200), ("journeyExit", 200),
    ]  # fmt: skip
    assert got[0].body == got[1].body
    assert got[0].body["dataFields"]["createdAt"] == "2026-01-02 18:53:20 +00:00"
    assert "Authorization" not in got[0].headers


def test_who_does_not_answer_is_told() -> None:
    answer, got = send(url="http://127.0.0.1:1/", events=["emailOpen"])
    ((delivery,), sent) = answer.json()["sent"], got
    assert (delivery["status"], sent) == (None, [])
    assert "127.0.0.1" in delivery["answer"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"url": "x"}, "url: expected where to send to"),
        ({"url": 5}, "url: expected a string"),
        ({"email": ""}, "email: expected whom"),
        ({"evnts": []}, "unknown key 'evnts'"),
        ({"events": "emailOpen"}, "events: expected a list"),
        ({"authType": "Digest"}, "authType: expected"),
        ({"secret": "a\nb"}, "secret: expected"),
        ({"times": 10_001, "events": ["a"]}, "times: expected at most"),
        ({"createdAt": "now"}, "createdAt: expected a whole number"),
    ],
)
def test_each_mistake_has_its_sentence(asked: dict[str, Any], sentence: str) -> None:
    answer, got = send(**asked)
    assert (answer.status_code, got) == (400, [])
    assert answer.json()["error"].startswith(sentence)
