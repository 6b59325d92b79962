"""Delivery to the stand-in for Iterable, over real HTTP and with its own destination."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations import registry
from engage_sync.sandbox.options import EVENTS_TRACK, USERS_UPDATE, Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from tests.factories.outbox import Outbox


def deliver(outbox: Outbox, sandbox: SandboxServer, *, workers: int = 1, **settings: float) -> list[Report]:
    config = SimpleNamespace(
        slug="iterable",
        type="iterable",
        settings={"api_key": sandbox.options.api_key, "base_url": sandbox.url},
        rate_limits={},
    )
    destinations = {"iterable": registry.build(config)}

    async def run() -> list[Report]:
        deliverers = (
            Deliverer(outbox.engine, destinations, Settings(**settings), direct_url=outbox.url)  # type: ignore[arg-type]
            for _ in range(workers)
        )
        return await asyncio.gather(*(each.run_until_empty() for each in deliverers))

    return asyncio.run(run())


def test_iterable_s_own_rates_are_held_by_two_workers(outbox: Outbox) -> None:
    outbox.many_waiting(1000)
    with SandboxServer() as sandbox:
        reports = deliver(outbox, sandbox, workers=2)
        assert sandbox.summary()["requests"] == {USERS_UPDATE: {"200": 1000}}
        assert len(sandbox.users()) == 1000
    assert sum(report.delivered for report in reports) == 1000
    assert outbox.rows("SELECT count(*) FROM told WHERE confirmed = 'true' AND enqueued IS NULL") == [(1000,)]


def test_storm_of_faults_loses_doubles_and_reorders_nothing(outbox: Outbox) -> None:
    outbox.many_waiting(40, messages=3)
    for number in range(40):
        outbox.waiting_message(f"t{number}@x.io", call_type="track")
    with SandboxServer(Options(rate_limits={USERS_UPDATE: 0, EVENTS_TRACK: 0})) as sandbox:
        sandbox.add_faults(
            {"path": "*", "kind": "status", "status": 503, "probability": 0.2, "times": 20},
            {
                "path": "*",
                "kind": "status",
                "status": 429,
                "headers": {"Retry-After": "1"},
                "probability": 0.2,
                "times": 10,
            },
            {"path": "*", "kind": "reset", "probability": 0.1, "times": 8},
            {"path": "*", "kind": "lost", "probability": 0.1, "times": 8},
        )
        (report,) = deliver(outbox, sandbox, request_timeout=1.0)
        assert (report.delivered, report.failed) == (160, 0)
        assert len(sandbox.events()) == 40
        users = sandbox.users()
        assert len(users) == 40
        assert all(user["dataFields"]["buyers"] is True for user in users)
        taken = [each for each in sandbox.requests() if each["path"] == USERS_UPDATE and each["acted"]]
    for user in users:
        told = [each["body"]["dataFields"]["buyers"] for each in taken if each["body"].get("email") == user["email"]]
        # A repeated one comes before anything newer.
        assert [value for value, before in zip(told, [None, *told], strict=False) if value != before] == [
            True,
            False,
            True,
        ]


def test_rate_below_ours_is_found_by_two_workers_and_nothing_is_lost(outbox: Outbox) -> None:
    """A project with a lower limit than we were told: after some seconds, few are refused."""
    outbox.many_waiting(1_500)
    with SandboxServer(Options(rate_limits={USERS_UPDATE: 300})) as sandbox:
        reports = deliver(outbox, sandbox, workers=2)
        counts = sandbox.summary()["requests"][USERS_UPDATE]
    assert (sum(report.delivered for report in reports), sum(report.failed for report in reports)) == (1_500, 0)
    assert counts["200"] == 1_500
    # At our own rate every third one would be refused, again and again.
    assert counts["429"] < 700
    assert outbox.rows("SELECT share BETWEEN 0.4 AND 0.8 FROM rate_budgets WHERE name = 'identify'") == [(True,)]
    assert outbox.count("outages") == 0


def test_retry_after_holds_back_that_person_only(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    for number in range(50):
        outbox.waiting_message(f"p{number}@x.io")
    with SandboxServer() as sandbox:
        sandbox.add_faults(
            {"path": USERS_UPDATE, "match": {"email": "ann@x.io"}, "times": 1, "kind": "status", "status": 429,
             "headers": {"Retry-After": "3"}}
        )  # fmt: skip
        deliver(outbox, sandbox)
    ((waited, others),) = outbox.rows(
        """
        SELECT extract(epoch FROM max(delivered_at) - min(delivered_at) FILTER (WHERE identity_value <> 'ann@x.io')),
               extract(epoch FROM max(delivered_at) FILTER (WHERE identity_value <> 'ann@x.io') - min(delivered_at))
        FROM delivered
        """
    )
    assert waited > 2.5
    assert others < 2
