"""The clients that people have, unchanged, against a real server."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from segment.analytics.client import Client

from tests.integration.api.conftest import Inbox
from tests.integration.api.serving import WRITE_KEY, Serving

CLIENTS = Path(__file__).parents[2] / "clients"
WHEN = datetime(2024, 5, 6, 7, 8, 9, 10_000, tzinfo=UTC)


def without_the_clients_own(call: dict[str, Any]) -> dict[str, Any]:
    """The call without what a client makes up: its message id, and who it is."""
    assert call["messageId"]
    assert call["context"]["library"]["name"] in {"analytics-python", "@segment/analytics-node"}
    assert datetime.fromisoformat(call["timestamp"]) == WHEN
    assert datetime.fromisoformat(call["sentAt"]) > WHEN
    return {
        name: value
        for name, value in call.items()
        if name not in {"messageId", "context", "timestamp", "sentAt", "originalTimestamp", "integrations", "channel"}
        and value not in ({}, None)
    }


EXPECTED = [
    {"type": "identify", "userId": "u1", "traits": {"email": "a@x.io", "plan": "free"}},
    {
        "type": "track",
        "userId": "u1",
        "event": "Order Completed",
        "properties": {"total": 12.5, "note": "ü ✓ 😀"},
    },
    {"type": "page", "anonymousId": "a1", "name": "Home"},
    {"type": "screen", "anonymousId": "a1", "name": "Cart"},
    {"type": "group", "userId": "u1", "groupId": "g1", "traits": {"name": "Acme"}},
    {"type": "alias", "userId": "u1", "previousId": "a1"},
]


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("sync_mode", [True, False])
def test_the_python_client(served: Serving, inbox: Inbox, sync_mode: bool, gzip: bool) -> None:
    failures: list[object] = []
    client = Client(
        WRITE_KEY,
        host=served.url,
        sync_mode=sync_mode,
        gzip=gzip,
        on_error=lambda failure, _batch: failures.append(failure),
        max_retries=0,
    )
    client.identify("u1", {"email": "a@x.io", "plan": "free"}, timestamp=WHEN)
    client.track("u1", "Order Completed", {"total": 12.5, "note": "ü ✓ 😀"}, timestamp=WHEN)
    client.page(anonymous_id="a1", name="Home", timestamp=WHEN)
    client.screen(anonymous_id="a1", name="Cart", timestamp=WHEN)
    client.group("u1", "g1", {"name": "Acme"}, timestamp=WHEN)
    client.alias("a1", "u1", timestamp=WHEN)
    if not sync_mode:
        client.flush()
        client.join()
    assert failures == []
    assert [without_the_clients_own(call) for call in inbox.calls()] == EXPECTED


def test_the_python_client_hears_why_a_call_was_refused(served: Serving, inbox: Inbox) -> None:
    from segment.analytics.request import APIError

    client = Client("wrong", host=served.url, sync_mode=True, max_retries=0)
    with pytest.raises(APIError) as refused:
        client.track("u1", "Order Completed")
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    assert inbox.calls() == []


@pytest.fixture(scope="session")
def node_client() -> Path:
    """The folder with the Node client installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node is not installed")
    if not (CLIENTS / "node_modules" / "@segment" / "analytics-node").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=CLIENTS, check=True, timeout=120)
    return CLIENTS


def test_the_node_client(node_client: Path, served: Serving, inbox: Inbox) -> None:
    sent = subprocess.run(
        ["node", "send.mjs", served.url, WRITE_KEY],
        cwd=node_client,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (sent.returncode, sent.stderr) == (0, "")
    # Two requests that are under way at once: no order between them.
    calls = sorted((without_the_clients_own(call) for call in inbox.calls()), key=lambda call: call["type"])
    assert calls == sorted(EXPECTED, key=lambda call: call["type"])
