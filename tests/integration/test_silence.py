"""An input that fell silent holds what follows from its silence, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.database import pipeline
from engage_sync.definitions.model import DEFAULT_GUARD, Guard
from engage_sync.ingest import inbox, volumes
from engage_sync.snapshots.differences import Tally
from engage_sync.sync import approving
from engage_sync.sync.batches import RunReport
from engage_sync.sync.ingest import import_files, resolve_inbox
from tests.world import World, ago, audience, trait

LATELY = "event('Visited').within(7 days).count() >= 1"
WEEK = 7 * 24 * 60.0
SPAN = timedelta(hours=6)


@pytest.fixture
def world(engine: Engine) -> World:
    """Three people; web sent as usual up to now."""
    made = World(engine)
    with engine.begin() as connection:
        sources = dict(connection.execute(text("SELECT slug, id FROM sources")).all())
    made.context = replace(made.context, guard=DEFAULT_GUARD, sources=frozenset(sources.values()))
    for name in ("ann", "bob", "cy"):
        made.person(name, emails=(f"{name}@x.io",))
    usual(made)
    return made


def usual(world: World, source: str = "web", *, days: int = 8, calls: int = 30) -> None:
    """So many calls an hour for so many days, up to now."""
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO volumes (source_id, minute, calls)"
                " SELECT id, date_trunc('minute', clock_timestamp()) - hours * interval '1 hour', :calls"
                " FROM sources CROSS JOIN generate_series(1, :hours) AS hours WHERE slug = :source"
            ),
            {"source": source, "hours": days * 24, "calls": calls},
        )


def usual_event(
    world: World, event: str = "Visited", *, days: int = 8, calls: int = 8, left: int = 0, every: int = 1
) -> None:
    """Of web, so many calls of an event in every quarter of an hour (or every so many of them) for so many days; and
    so many in those of the last six hours.
    """
    quarter = timedelta(minutes=15)
    end = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 900 * 900, UTC)
    came = []
    for number in range(1, days * 96 + 1, every):
        came += [(world.source or 0, event, end - number * quarter)] * (left if number <= 24 else calls)
    with world.engine.begin() as connection:
        pipeline.ask(connection, volumes.counting_events(came))


def falls_silent(world: World, hours: int = 6, *, left: int = 0, source: str = "web") -> None:
    """A source sent only so many calls an hour of late."""
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE volumes SET calls = :left FROM sources WHERE sources.id = source_id AND slug = :source"
                " AND minute > clock_timestamp() - make_interval(hours => :hours, mins => 2)"
            ),
            {"left": left, "hours": hours, "source": source},
        )
        connection.execute(text("DELETE FROM volumes WHERE calls = 0"))


def visits(world: World, *names: str, source: str = "web", minutes: float = WEEK - 10) -> None:
    for name in names:
        world.event(name, "Visited", ago(minutes=minutes), source=source)


def leave(world: World, *specs: Any) -> dict[str, RunReport]:
    """Ann and Bob, who visited a week ago, leave by time alone."""
    visits(world, "ann", "bob")
    world.apply(*specs)
    world.compute()
    world.deliver()
    time_goes_by(world)
    return world.compute()


def time_goes_by(world: World) -> None:
    """What happened nearly a week ago leaves its window now."""
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE events SET timestamp = clock_timestamp() - interval '7 days'"
                " WHERE timestamp < clock_timestamp() - interval '6 days'"
            )
        )


def test_exits_that_follow_silence_are_held_until_somebody_approves_it(world: World) -> None:
    falls_silent(world)
    report = leave(world, audience("lately", LATELY))["lately"]
    assert (report.status, report.progress.tally) == ("held", Tally(exited=2))
    assert report.held == (
        "2 would leave, of 2 members, while the source web sent no call in 6 hours, where 180 are usual at this time."
    )
    assert world.deliver() == []
    assert approving.approve(world.engine, world.context, "lately").status == "done"
    assert len(world.deliver()) == 2
    # Approved is the input as it is, too: what follows it for a day isn't asked about again.
    visits(world, "cy", minutes=1)
    assert world.compute()["lately"].status == "done"


@pytest.mark.parametrize(("left", "status"), [(0, "held"), (5, "held"), (6, "done"), (30, "done")])
def test_what_lost_four_fifths_of_its_volume_is_silent(world: World, left: int, status: str) -> None:
    falls_silent(world, left=left)
    assert leave(world, audience("lately", LATELY))["lately"].status == status


def test_a_new_installation_and_one_with_little_traffic_are_never_silent(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("TRUNCATE volumes"))
    assert leave(world, audience("lately", LATELY))["lately"].status == "done"
    usual(world, calls=16)
    falls_silent(world)
    visits(world, "ann")
    world.compute()
    time_goes_by(world)
    assert world.compute()["lately"].progress.tally == Tally(exited=1), "96 calls in six hours are few"


def test_only_what_reads_the_silent_source_by_time_is_held(world: World) -> None:
    falls_silent(world)
    for name in ("ann", "bob"):
        world.event(name, "Opened", ago(minutes=WEEK - 10), source="app")
    reports = leave(
        world,
        audience("lately", LATELY),
        audience("without", "event('Visited').sources(exclude: 'web').within(7 days).count() = 0"),
        audience("opened", "event('Opened').within(7 days).count() >= 1"),
        audience("unguarded", LATELY, guard=Guard(silence="off")),
        audience("ever", "event('Visited').count() >= 1"),
        trait("visits", "event('Visited').within(7 days).count()"),
    )
    assert {key: report.status for key, report in reports.items()} == {
        "lately": "held", "without": "done", "opened": "done", "unguarded": "done", "ever": "done", "visits": "held",
    }  # fmt: skip


def test_a_source_that_left_engage_yml_is_not_missed(world: World) -> None:
    falls_silent(world)
    world.context = replace(world.context, sources=frozenset())
    assert leave(world, audience("lately", LATELY))["lately"].status == "done"


def test_computing_as_of_an_instant_looks_at_no_input(world: World) -> None:
    falls_silent(world)
    visits(world, "ann", "bob")
    world.apply(audience("lately", LATELY))
    world.compute(as_of=ago(seconds=1))
    assert world.compute(as_of=datetime.now(UTC) + timedelta(days=2))["lately"].progress.tally == Tally(exited=2)


def test_nothing_that_changes_nothing_is_held(world: World) -> None:
    falls_silent(world)
    world.apply(audience("lately", LATELY))
    world.compute()
    assert world.compute()["lately"].status == "done"


def test_it_ends_by_itself_once_the_input_is_heard_again_though_its_week_has_forgotten(world: World) -> None:
    falls_silent(world)
    leave(world, audience("lately", LATELY))
    falls_silent(world, hours=24 * 8)
    with world.engine.begin() as connection:
        assert not any(
            each.is_silent for each in pipeline.ask(connection, volumes.hearing(world.context.sources, SPAN, ago()))
        )
    assert world.compute()["lately"].status == "held"
    usual(world, days=1)
    assert world.compute()["lately"].status == "done"
    assert len(world.deliver()) == 2


def test_an_event_that_stopped_holds_though_its_source_goes_on(world: World) -> None:
    usual_event(world)
    report = leave(world, audience("lately", LATELY))["lately"]
    assert (report.status, report.progress.tally) == ("held", Tally(exited=2))
    assert report.held == (
        "2 would leave, of 2 members, while the source web sent no call of 'Visited' in 6 hours, where 192 are usual at"
        " this time."
    )
    assert world.deliver() == []
    # It is heard again.
    with world.engine.begin() as connection:
        connection.execute(text("TRUNCATE event_volumes"))
    usual_event(world, left=8)
    assert world.compute()["lately"].status == "done"
    assert len(world.deliver()) == 2


@pytest.mark.parametrize(("left", "status"), [(1, "held"), (2, "done"), (8, "done")])
def test_what_lost_four_fifths_of_an_event_is_held(world: World, left: int, status: str) -> None:
    usual_event(world, left=left)
    assert leave(world, audience("lately", LATELY))["lately"].status == status


@pytest.mark.parametrize(
    "came",
    [
        {"days": 0},
        {"calls": 4},  # 96 in six hours are few
        {"calls": 1_000, "every": 4},  # once an hour, all at once
        {"days": 3, "left": 1},  # less than a week is known, and it isn't silent altogether
        {"event": "Opened"},
    ],
)
def test_an_event_that_came_rarely_or_in_bursts_or_is_not_read_holds_nothing(
    world: World, came: dict[str, Any]
) -> None:
    usual_event(world, **came)
    assert leave(world, audience("lately", LATELY))["lately"].status == "done"


def test_only_what_reads_the_silent_event_by_time_and_from_there_is_held(world: World) -> None:
    usual_event(world)
    usual_event(world, "Opened", left=8)
    for name in ("ann", "bob"):
        world.event(name, "Opened", ago(minutes=WEEK - 10))
    reports = leave(
        world,
        audience("lately", LATELY),
        audience("either", "event('Opened').within(7 days).exists() OR event('Visited').within(7 days).exists()"),
        audience("opened", "event('Opened').within(7 days).exists()"),
        audience("ever", "event('Visited').exists()"),
        audience("without", "event('Visited').sources(exclude: 'web').within(7 days).count() = 0"),
        audience("unguarded", LATELY, guard=Guard(silence="off")),
    )
    assert {key: report.status for key, report in reports.items()} == {
        "lately": "held", "either": "held", "opened": "done", "ever": "done", "without": "done", "unguarded": "done",
    }  # fmt: skip


def test_a_source_that_is_silent_as_a_whole_is_named_rather_than_its_events(world: World) -> None:
    usual_event(world)
    falls_silent(world)
    assert "sent no call in 6 hours" in (leave(world, audience("lately", LATELY))["lately"].held or "")


def test_a_hold_remembers_how_often_its_event_came(world: World) -> None:
    usual_event(world)
    leave(world, audience("lately", LATELY))
    with world.engine.begin() as connection:
        connection.execute(text("TRUNCATE event_volumes"))
    report = world.compute()["lately"]
    assert (report.status, "where 192 are usual" in (report.held or "")) == ("held", True)
    assert approving.approve(world.engine, world.context, "lately").status == "done"


def test_live_events_are_counted_by_quarter_of_an_hour_and_source_and_imports_are_not(
    world: World, tmp_path: Path
) -> None:
    def call(number: int, event: str) -> dict[str, Any]:
        return {"type": "track", "event": event, "userId": "u", "messageId": f"m{number}"}

    live = [call(1, "E"), call(2, "E"), call(3, "F"), {"type": "identify", "userId": "u", "messageId": "m4"}]
    with world.engine.begin() as connection:
        inbox.store(connection, world.source or 0, live)
    resolve_inbox(world.engine, {})
    file = tmp_path / "calls.jsonl"
    file.write_text(json.dumps({**call(5, "E"), "timestamp": ago().isoformat()}))
    assert import_files(world.engine, [file], world.source or 0, {}).stored == 1
    with world.engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT source_id, calls, stretch = date_bin('15 minutes', received_at, '1970-01-01Z')"
                " FROM event_volumes, (SELECT min(received_at) AS received_at FROM events) AS first ORDER BY calls"
            )
        ).all()
        assert rows == [(world.source, 1, True), (world.source, 2, True)]
        assert volumes.clean(connection) == 0
        connection.execute(text("UPDATE event_volumes SET stretch = stretch - interval '16 days'"))
        assert volumes.clean(connection) == 2


def test_live_calls_are_counted_by_minute_and_source(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("TRUNCATE volumes"))
        calls = [{"type": "track", "event": "E", "userId": "u", "messageId": f"m{number}"} for number in range(3)]
        inbox.store(connection, world.source or 0, [*calls, calls[0]])
    assert resolve_inbox(world.engine, {}).duplicates == 1
    with world.engine.begin() as connection:
        rows = connection.execute(text("SELECT source_id, calls, minute <= clock_timestamp() FROM volumes")).all()
        assert rows == [(world.source, 4, True)]
        assert volumes.clean(connection) == 0
        connection.execute(text("UPDATE volumes SET minute = minute - interval '16 days'"))
        assert volumes.clean(connection) == 1


@pytest.mark.parametrize(
    ("before", "days", "heard", "expected"),
    [
        ([500] * 7, 7, 0, 500),
        ([500, 500, 500, 500, 500, 110, 100], 9, 20, 110),
        ([0, 500, 500, 500, 500, 500, 500], 7, 3, 500),
        ([0, 0, 500, 500, 500, 500, 500], 7, 0, None),
        ([99] * 7, 7, 0, None),
        ([500, 400, 0, 0, 0, 0, 0], 2, 0, 400),
        ([500, 400, 0, 0, 0, 0, 0], 2, 1, None),
        ([0] * 7, 0, 0, None),
    ],
)
def test_what_is_usual(before: list[int], days: int, heard: int, expected: int | None) -> None:
    assert volumes.usual(before, days, heard) == expected
