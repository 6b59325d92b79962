from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from engage_sync.database import locks
from engage_sync.ingest import accept, inbox
from engage_sync.profiles import resolver
from engage_sync.sync import resolving
from engage_sync.sync.ingest import ResolveReport, resolve_inbox
from tests.integration.resolving import people, person, rows


def send(engine: Engine, *calls: dict[str, Any]) -> None:
    with engine.begin() as connection:
        inbox.store(connection, 1, [accept.normalise(accept.parse(orjson.dumps(call))) for call in calls])


def track(user: str, **body: Any) -> dict[str, Any]:
    return {"type": "track", "event": "E", "userId": user, **body}


def test_batch_leaves_the_inbox_and_becomes_facts(engine: Engine) -> None:
    send(engine, track("u", messageId="m"), track("u", messageId="m"), track("null"), track("v", timestamp="soon"))
    report = resolve_inbox(engine, {})
    assert report == ResolveReport(
        taken=4, stored=2, duplicates=1, rejected=1, adjusted_timestamps=1, merges=0, touched=2
    )
    assert people(engine) == [person(["user_id:u"], events=["E"]), person(["user_id:v"], events=["E"])]
    assert rows(engine, "SELECT call::jsonb ->> 'userId', left(reason, 29) FROM rejects") == [
        ("null", "userId: no usable identifier ")
    ]
    assert resolve_inbox(engine, {}) == ResolveReport()


def test_batches_are_bounded(engine: Engine) -> None:
    send(engine, *(track(f"u{number}") for number in range(5)))
    assert [resolve_inbox(engine, {}, batch_size=2).taken for _ in range(4)] == [2, 2, 1, 0]


def test_another_resolver_is_left_alone(engine: Engine) -> None:
    send(engine, track("u"))
    with engine.begin() as connection:
        assert locks.attempt(connection, locks.LockClass.RESOLVER)
        assert resolve_inbox(engine, {}) == ResolveReport(is_standing_by=True)
    assert resolve_inbox(engine, {}).stored == 1


def test_call_that_postgres_refuses_stands_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events ADD CONSTRAINT no_poison CHECK (properties ->> 'x' <> 'poison')"))
    send(engine, *(track(f"u{number}", properties={"x": "poison" if number == 3 else "fine"}) for number in range(7)))
    report = resolve_inbox(engine, {})
    assert (report.stored, report.rejected, report.touched) == (6, 1, 6)
    assert len(people(engine)) == 6
    ((reason, call),) = rows(engine, "SELECT reason, call::jsonb ->> 'userId' FROM rejects")
    assert (reason.startswith("Postgres can't store it: "), call) == (True, "u3")


def test_fault_of_ours_is_loud(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("always")

    monkeypatch.setattr(resolver, "resolve_facts", broken)
    monkeypatch.setattr(resolving, "_MAX_ALONE", 2)
    send(engine, *(track(f"u{number}") for number in range(4)))
    with pytest.raises(ValueError, match="always"):
        resolve_inbox(engine, {})
    monkeypatch.undo()
    assert resolve_inbox(engine, {}).stored == 4


def test_merge_moves_what_later_stages_hold(engine: Engine) -> None:
    send(engine, track("u"), track("u"), {"type": "track", "event": "E", "anonymousId": "a"})
    resolve_inbox(engine, {})
    by_identity = {row.value: row.profile_id for row in rows(engine, "SELECT value, profile_id FROM identities")}
    kept, lost = by_identity["u"], by_identity["a"]
    with engine.begin() as connection:
        for statement in _HELD:
            connection.execute(text(statement), {"lost": lost, "kept": kept})
    send(engine, {"type": "track", "event": "E", "userId": "u", "anonymousId": "a"})
    assert resolve_inbox(engine, {}).merges == 1
    assert rows(engine, "SELECT profile_id FROM snapshots") == []
    assert rows(engine, "SELECT profile_id, run_id, before, after FROM changes") == [(lost, 0, True, None)]
    assert rows(engine, "SELECT members FROM computations") == [(4,)]
    assert rows(engine, "SELECT profile_id FROM told UNION ALL SELECT profile_id FROM messages") == [(kept,)] * 3
    assert rows(engine, "SELECT profile_id FROM dead_letters") == [(kept,)]
    lanes = (
        "SELECT profile_id, destination_id, priority, worker_id, due_at > clock_timestamp() FROM lanes ORDER BY 1, 2"
    )
    # The lane on destination 2 was leased: its request may be on its way, so the common lane waits for it.
    assert rows(engine, lanes) == sorted(
        [(kept, 1, 0, None, False), (kept, 2, 2, None, True), (lost, 2, 2, 7, False)], key=lambda row: row[:2]
    )


_MESSAGE = """
INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                      identity_value, call_type, value, told_version, as_of, attempts, started_at)
VALUES ({}, :lost, 1, 1, 1, 'email', 'e', 'identify', 'true', 1, now(), {}, {})
"""
_HELD = (
    "INSERT INTO definitions (public_id, kind, key, version, enabled) VALUES ('aud_1', 'audience', 'k', 1, true)",
    "INSERT INTO computations (definition_id, members) VALUES (1, 5)",
    "INSERT INTO snapshots VALUES (:lost, 1, 'true', now())",
    "INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version)"
    " VALUES ('e', 'email', 1, 1, 'identify', :lost, 1)",
    _MESSAGE.format(1, 0, "NULL"),
    _MESSAGE.format(2, 1, "clock_timestamp()"),
    "INSERT INTO dead_letters (message_id, destination_id, profile_id, definition_id, definition_version, run_id,"
    " identity_type, identity_value, call_type, value, told_version, as_of, attempts, reason)"
    " VALUES (1, 1, :lost, 1, 1, 1, 'email', 'e', 'identify', 'true', 1, now(), 1, 'no')",
    "INSERT INTO lanes (profile_id, destination_id, priority) VALUES (:lost, 1, 0), (:kept, 1, 2)",
    "INSERT INTO lanes (profile_id, destination_id, priority, worker_id) VALUES (:lost, 2, 2, 7)",
)
