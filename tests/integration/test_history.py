"""History is what the ledger recorded: of a definition over time, and of a person, whoever it was merged from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from engage_sync import errors, reports
from engage_sync.definitions import versions
from engage_sync.ingest import accept, inbox
from engage_sync.snapshots.timeline import Step
from engage_sync.sync.backtesting import backtest
from engage_sync.sync.ingest import resolve_inbox
from tests.world import World, audience, trait

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RECENT = "event('A').within(1 day).count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def history(world: World, key: str, *, step: Step = Step.DAY, **given: Any) -> list[dict[str, Any]]:
    with world.engine.begin() as connection:
        return reports.history(connection, versions.find(connection, key), step=step, **given)


def person(world: World, identifier: str, key: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    with world.engine.begin() as connection:
        definition = versions.find(connection, key) if key else None
        return reports.history_of_person(connection, identifier, definition=definition, limit=limit)


def test_days_with_their_members_and_what_changed_newest_first(world: World) -> None:
    for number in range(3):
        world.person(f"p{number}", user_id=f"u{number}")
        world.event(f"p{number}", "A", MIDNIGHT + number * 6 * HOUR)
    world.apply(audience("recent", RECENT))
    for hours in (0, 1, 6, 12, 25, 48, 60):
        world.compute(as_of=MIDNIGHT + hours * HOUR)
    assert history(world, "recent", start=MIDNIGHT - DAY, end=MIDNIGHT + 2 * DAY + HOUR) == [
        {"as_of": MIDNIGHT + 2 * DAY + HOUR, "members": 0, "entered": 0, "left": 0},
        # The first left at 25 o'clock and the others at 48, which this row closes.
        {"as_of": MIDNIGHT + 2 * DAY, "members": 0, "entered": 0, "left": 3},
        {"as_of": MIDNIGHT + DAY, "members": 3, "entered": 2, "left": 0},
        {"as_of": MIDNIGHT, "members": 1, "entered": 1, "left": 0},
        {"as_of": MIDNIGHT - DAY, "members": 0, "entered": 0, "left": 0},
    ]
    # What happened up to its start is no part of a range; whatever came after its end is not either.
    assert history(world, "recent", start=MIDNIGHT, end=MIDNIGHT + DAY) == [
        {"as_of": MIDNIGHT + DAY, "members": 3, "entered": 2, "left": 0},
        {"as_of": MIDNIGHT, "members": 1, "entered": 0, "left": 0},
    ]


def test_values_of_a_trait_that_changed_are_counted(world: World) -> None:
    world.person("ann", user_id="u1")
    world.apply(trait("count", "event('A').within(2 days).count()"))
    for days in (0, 1):
        world.event("ann", "A", MIDNIGHT + days * DAY)
        world.compute(as_of=MIDNIGHT + days * DAY)
    world.compute(as_of=MIDNIGHT + 4 * DAY)
    assert history(world, "count", start=MIDNIGHT - DAY, end=MIDNIGHT + 4 * DAY) == [
        {"as_of": MIDNIGHT + 4 * DAY, "members": 0, "entered": 0, "left": 1, "changed": 0},
        {"as_of": MIDNIGHT + 3 * DAY, "members": 1, "entered": 0, "left": 0, "changed": 0},
        {"as_of": MIDNIGHT + 2 * DAY, "members": 1, "entered": 0, "left": 0, "changed": 0},
        {"as_of": MIDNIGHT + DAY, "members": 1, "entered": 0, "left": 0, "changed": 1},
        {"as_of": MIDNIGHT, "members": 1, "entered": 1, "left": 0, "changed": 0},
        {"as_of": MIDNIGHT - DAY, "members": 0, "entered": 0, "left": 0, "changed": 0},
    ]


def test_hours_that_were_computed_are_those_of_a_backtest(world: World) -> None:
    for number in range(6):
        world.person(f"p{number}", user_id=f"u{number}")
        world.event(f"p{number}", "A", MIDNIGHT + number * 5 * HOUR)
    world.apply(audience("recent", RECENT))
    for hours in range(-1, 60):
        world.compute(as_of=MIDNIGHT + hours * HOUR)
    found = backtest(
        world.engine, world.context, [], "recent", start=MIDNIGHT - HOUR, end=MIDNIGHT + 59 * HOUR, step=Step.HOUR
    )
    recorded = history(world, "recent", start=MIDNIGHT - HOUR, end=MIDNIGHT + 59 * HOUR, step=Step.HOUR)
    assert [(row["as_of"], row["members"], row["entered"], row["left"]) for row in reversed(recorded)] == [
        (past.as_of, past.members, past.tally.entered, past.tally.exited) for past in found.past
    ]


def test_by_default_it_reaches_from_the_first_record_to_the_last_computation_of_the_past(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    world.apply(audience("recent", RECENT), audience("other", RECENT))
    world.compute("recent", as_of=MIDNIGHT + 12 * HOUR)
    world.compute("recent", as_of=MIDNIGHT + 36 * HOUR)
    assert [row["as_of"] for row in history(world, "recent")] == [
        MIDNIGHT + 36 * HOUR, MIDNIGHT + DAY, MIDNIGHT
    ]  # fmt: skip
    world.compute("recent", as_of=MIDNIGHT + 100 * DAY)
    assert [row["as_of"] for row in history(world, "recent")] == [MIDNIGHT + n * DAY for n in range(100, 69, -1)]
    # Never computed: today, with nothing in it.
    assert {row["members"] for row in history(world, "other")} == {0}


def test_the_end_of_a_merged_profile_counts_only_where_it_was_in(engine: Engine, world: World) -> None:
    in_, out = (
        {"type": "track", "event": "A", "anonymousId": name, "timestamp": at.isoformat()}
        for name, at in (("in", MIDNIGHT + HOUR), ("out", MIDNIGHT - DAY + HOUR))
    )
    send(engine, in_, out)
    world.apply(audience("recent", RECENT, include_anonymous=True))
    world.compute(as_of=MIDNIGHT)
    world.compute(as_of=MIDNIGHT + 2 * HOUR)
    send(engine, *({"type": "track", "event": "B", "userId": "u"} for _ in range(3)))
    send(engine, *({"type": "alias", "userId": "u", "previousId": name} for name in ("in", "out")))
    ((now,),) = rows(engine, "SELECT clock_timestamp()")
    last = history(world, "recent", start=now - HOUR, end=now, step=Step.WEEK)
    assert [(row["members"], row["entered"], row["left"]) for row in last[:1]] == [(0, 0, 1)]
    assert last[-1]["members"] == 1


def test_a_persons_history_includes_those_merged_into_it(engine: Engine, world: World) -> None:
    world.apply(audience("recent", RECENT, include_anonymous=True), trait("count", "event('A').count()"))
    an_event = {"type": "track", "event": "A", "timestamp": MIDNIGHT.isoformat()}
    send(engine, {**an_event, "anonymousId": "an"}, {**an_event, "userId": "u"}, {**an_event, "userId": "u"})
    world.compute(as_of=MIDNIGHT)
    lost = rows(engine, "SELECT profile_id FROM identities WHERE value = 'an'")[0][0]
    public = rows(engine, f"SELECT public_id FROM profiles WHERE id = {lost}")[0][0]
    send(engine, {**an_event, "userId": "u", "anonymousId": "an"})
    world.compute()

    changes = person(world, "user_id:u", "recent")
    told = [(each["what"], each["cause"], each["is_merged"]) for each in changes]
    # The window of that day is long over when the merged profile is computed as of now.
    assert told[:2] == [("left", "manual", False), ("left", "merge", True)]
    assert sorted(told[2:]) == [("entered", "first", False), ("entered", "first", True)]
    assert changes[1]["run_id"] is None
    assert changes[0]["run_id"] is not None
    # Whatever the person was known by leads there.
    assert person(world, "anonymous_id:an", "recent") == person(world, public, "recent") == changes
    assert [(each["before"], each["after"]) for each in person(world, "user_id:u", "count")] == [
        (2, 4), (None, 2)
    ]  # fmt: skip


def test_merges_of_merges_lead_to_the_last(engine: Engine, world: World) -> None:
    world.apply(audience("bought", "event('A').count() >= 1", include_anonymous=True))
    an_event = {"type": "track", "event": "A", "timestamp": MIDNIGHT.isoformat()}
    send(engine, {**an_event, "anonymousId": "one"})
    world.compute(as_of=MIDNIGHT)
    ((first,),) = rows(engine, "SELECT id FROM profiles")
    by_email = {"type": "identify", "traits": {"email": "e@x.io"}}
    send(engine, *({**an_event, "anonymousId": "two"} for _ in range(3)), {**by_email, "anonymousId": "two"})
    send(engine, {**by_email, "anonymousId": "one"})
    send(engine, *({**an_event, "userId": "u"} for _ in range(9)))
    send(engine, {**by_email, "userId": "u"})
    ((last,),) = rows(engine, "SELECT id FROM profiles")
    assert last != first
    assert [each["what"] for each in person(world, "user_id:u")] == ["left", "entered"]


def test_a_persons_history_is_newest_first_and_may_be_cut(world: World) -> None:
    world.person("ann", user_id="u1")
    world.apply(trait("count", "event('A').count()"), audience("many", "event('A').count() >= 2"))
    for days in range(3):
        world.event("ann", "A", MIDNIGHT + days * DAY)
        world.compute(as_of=MIDNIGHT + days * DAY)
    changes = person(world, "user_id:u1")
    assert [(each["as_of"], each["key"], each["what"], each["before"], each["after"]) for each in changes] == [
        (MIDNIGHT + 2 * DAY, "count", "changed", 2, 3),
        (MIDNIGHT + DAY, "many", "entered", None, True),
        (MIDNIGHT + DAY, "count", "changed", 1, 2),
        (MIDNIGHT, "count", "entered", None, 1),
    ]
    assert person(world, "user_id:u1", limit=2) == changes[:2]
    assert [each["key"] for each in person(world, "user_id:u1", "many")] == ["many"]
    with pytest.raises(errors.NotFound, match="user_id:nobody"):
        person(world, "user_id:nobody")


def test_a_long_ledger_is_read_by_its_indexes(world: World) -> None:
    world.person("ann", user_id="u1")
    world.apply(audience("recent", RECENT), audience("other", RECENT))
    with world.engine.begin() as connection:
        connection.execute(
            text(
                """
                INSERT INTO changes (profile_id, definition_id, as_of, run_id, before, after)
                SELECT n, 1 + n % 2, CAST(:at AS timestamptz) + n * interval '1 minute', 1, 'false', 'true'
                FROM generate_series(1, 50000) AS n
                """
            ),
            {"at": MIDNIGHT},
        )
        connection.execute(text("ANALYZE changes"))
        ours = versions.find(connection, "recent")
        reports.history(connection, ours, start=MIDNIGHT + 30 * DAY, end=MIDNIGHT + 31 * DAY)
    scans = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname LIKE 'changes%'"
    with world.engine.begin() as connection:
        before = connection.execute(text(scans)).scalar_one()
        reports.history(connection, ours, start=MIDNIGHT + 30 * DAY, end=MIDNIGHT + 31 * DAY)
        reports.first_change(connection, ours)
        reports.history_of_person(connection, "user_id:u1")
        assert connection.execute(text(scans)).scalar_one() == before


def send(engine: Engine, *calls: dict[str, Any]) -> None:
    with engine.begin() as connection:
        inbox.store(connection, 1, [accept.normalise(accept.parse(orjson.dumps(call))) for call in calls])
    resolve_inbox(engine, {})


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]
