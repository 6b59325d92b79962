"""A backtest says what would have been recorded, had the definition run then, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.snapshots.timeline import Step
from engage_sync.sync import backtesting
from engage_sync.sync.backtesting import Backtest, backtest
from tests.integration import histories
from tests.integration.histories import Player
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EXAMPLES = 400 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 40
# Whatever a computation may write.
WRITTEN = (
    "snapshots",
    "changes",
    "computations",
    "runs",
    "edges",
    "told",
    "messages",
    "lanes",
    "touches",
    "definitions",
)


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def test_a_window_is_entered_and_left_at_its_midnights(world: World) -> None:
    world.person("ann", user_id="u1")
    world.person("bob", user_id="u2")
    world.event("ann", "A", MIDNIGHT + 6 * HOUR)
    world.event("bob", "A", MIDNIGHT - DAY)
    world.apply(audience("recent", "event('A').within(2 days).count() >= 1"))
    found = run(world, "recent", MIDNIGHT, MIDNIGHT + 4 * DAY)
    assert numbers(found) == [
        (MIDNIGHT, 1, 1, 0, 0),
        (MIDNIGHT + DAY, 2, 1, 0, 0),
        # Bob left: his event is three days old, and of the two days the edge alone still counts.
        (MIDNIGHT + 2 * DAY, 1, 0, 1, 0),
        (MIDNIGHT + 3 * DAY, 0, 0, 1, 0),
        (MIDNIGHT + 4 * DAY, 0, 0, 0, 0),
    ]


def test_rows_are_the_start_utc_boundaries_and_the_end(world: World) -> None:
    world.apply(audience("recent", "event('A').within(2 days).count() >= 1"))
    start, end = MIDNIGHT + 90 * timedelta(minutes=1), MIDNIGHT + 2 * DAY + HOUR
    days = [each.as_of for each in run(world, "recent", start, end).past]
    assert days == [start, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, end]
    hours = [each.as_of for each in run(world, "recent", start, MIDNIGHT + 4 * HOUR, step=Step.HOUR).past]
    assert hours == [start, *(MIDNIGHT + n * HOUR for n in (2, 3, 4))]
    # The first of March 2026 is a Sunday.
    weeks = [each.as_of for each in run(world, "recent", MIDNIGHT, MIDNIGHT + 9 * DAY, step=Step.WEEK).past]
    assert weeks == [MIDNIGHT, MIDNIGHT + DAY, MIDNIGHT + 8 * DAY, MIDNIGHT + 9 * DAY]
    assert [each.as_of for each in run(world, "recent", start, start).past] == [start]


def test_values_of_a_trait_are_counted_when_they_change(world: World) -> None:
    world.person("ann", user_id="u1")
    for days, total in ((0, 10), (1, 5), (1, 7)):
        world.event("ann", "A", MIDNIGHT + days * DAY, total=total)
    world.apply(trait("spent", "event('A').within(2 days).sum(property('total'))"))
    assert numbers(run(world, "spent", MIDNIGHT, MIDNIGHT + 4 * DAY)) == [
        (MIDNIGHT, 1, 1, 0, 0),
        (MIDNIGHT + DAY, 1, 0, 0, 1),
        (MIDNIGHT + 2 * DAY, 1, 0, 0, 0),
        (MIDNIGHT + 3 * DAY, 1, 0, 0, 1),
        (MIDNIGHT + 4 * DAY, 0, 0, 1, 0),
    ]


def test_what_it_refers_to_is_computed_as_of_each_instant_not_as_it_is_now(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    world.apply(
        audience("recent", "event('A').within(1 day).count() >= 1"),
        audience("again", "trait('recent') = 'true'"),
        audience("gone", "trait('recent') = 'false'"),
    )
    world.compute(as_of=MIDNIGHT + 30 * DAY)
    assert [row[1] for row in numbers(run(world, "again", MIDNIGHT, MIDNIGHT + 3 * DAY))] == [1, 1, 0, 0]
    assert [row[1] for row in numbers(run(world, "gone", MIDNIGHT, MIDNIGHT + 3 * DAY))] == [0, 0, 1, 1]


def test_a_definition_that_is_only_in_a_file_refers_to_what_is_applied(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    world.apply(audience("recent", "event('A').within(1 day).count() >= 1"))
    draft = audience("draft", "trait('recent') = 'true'")
    found = run(world, "draft", MIDNIGHT, MIDNIGHT + 2 * DAY, draft)
    assert [row[1] for row in numbers(found)] == [1, 1, 0]
    assert not found.is_applied


def test_the_file_goes_before_what_was_applied(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    applied = audience("recent", "event('A').within(1 day).count() >= 1")
    world.apply(applied)
    assert run(world, "recent", MIDNIGHT, MIDNIGHT, applied).is_applied
    changed = run(world, "recent", MIDNIGHT, MIDNIGHT, audience("recent", "event('B').count() >= 1"))
    assert (changed.past[0].members, changed.is_applied) == (0, False)


def test_history_left_out_begins_at_the_start(world: World) -> None:
    world.person("ann", user_id="u1")
    world.person("bob", user_id="u2")
    world.event("ann", "A", MIDNIGHT - HOUR)
    world.event("bob", "A", MIDNIGHT + HOUR)
    world.apply(audience("new", "event('A').count() >= 1", include_historical_data=False))
    assert [row[1] for row in numbers(run(world, "new", MIDNIGHT, MIDNIGHT + DAY))] == [0, 1]


def test_nothing_that_lasts_is_written_and_the_session_is_clean(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    world.apply(audience("recent", "event('A').within(1 day).count() >= 1"))
    world.compute(as_of=MIDNIGHT)
    before = contents(world.engine)
    run(world, "recent", MIDNIGHT - DAY, MIDNIGHT + 3 * DAY)
    assert contents(world.engine) == before
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT to_regclass('pg_temp.engage_past')")).scalar() is None


def test_it_waits_for_no_lock_of_a_live_computation_and_holds_none(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "A", MIDNIGHT)
    world.apply(audience("recent", "event('A').within(1 day).count() >= 1"))
    world.compute(as_of=MIDNIGHT)
    with world.engine.begin() as connection:
        # Every row of the snapshot and the definition itself are held by somebody.
        connection.execute(text("SELECT FROM snapshots FOR UPDATE"))
        connection.execute(text("SELECT FROM definitions FOR UPDATE"))
        connection.execute(text("SELECT FROM computations FOR UPDATE"))
        assert [row[1] for row in numbers(run(world, "recent", MIDNIGHT, MIDNIGHT + 2 * DAY))] == [1, 1, 0]


def test_too_many_instants_and_a_range_turned_round_are_refused(world: World) -> None:
    world.apply(audience("recent", "event('A').count() >= 1"))
    with pytest.raises(errors.UsageError, match=r"1,001 instants, one every hour; at most 1,000"):
        run(world, "recent", MIDNIGHT, MIDNIGHT + 1000 * HOUR, step=Step.HOUR)
    with pytest.raises(errors.UsageError, match="before --from"):
        run(world, "recent", MIDNIGHT, MIDNIGHT - DAY)
    with pytest.raises(errors.NotFound, match="Did you mean 'recent'"):
        run(world, "recnt", MIDNIGHT, MIDNIGHT)


def test_a_circle_through_a_file_is_refused(world: World) -> None:
    world.apply(audience("one", "event('A').count() >= 1"), audience("two", "trait('one') = 'true'"))
    with pytest.raises(errors.UsageError, match="one -> two -> one"):
        run(world, "two", MIDNIGHT, MIDNIGHT, audience("one", "trait('two') = 'true'"))


def test_a_statement_that_takes_too_long_says_which_setting_to_change(world: World) -> None:
    for number in range(40):
        world.person(f"p{number}", user_id=f"u{number}")
    world.apply(audience("recent", "event('A').count() = 0"))
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION slow(value boolean) RETURNS boolean LANGUAGE sql VOLATILE AS"
                " 'SELECT value FROM pg_sleep(1)';"
                "ALTER TABLE profiles RENAME TO people; CREATE VIEW profiles AS"
                " SELECT id, public_id, created_at, slow(is_known) AS is_known FROM people"
            )
        )
    world.context = type(world.context)(destinations={}, patience=0.2)
    with pytest.raises(errors.ComputationFailed, match="ENGAGE_SYNC_COMPUTE_TIMEOUT"):
        run(world, "recent", MIDNIGHT, MIDNIGHT)


# --- whatever the definitions and the facts -------------------------------------------------------------------------

stretches = st.tuples(st.integers(-90, 10), st.integers(0, 100), st.sampled_from([Step.DAY, Step.DAY, Step.HOUR]))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    specs=histories.specs(),
    facts=st.lists(histories.facts, min_size=2, max_size=12),
    stretch=stretches,
    # What a person costs by itself decides between the two ways of going on: at no cost everything is increments.
    alone=st.sampled_from([0.0, 0.0, 5.0]),
)
def test_a_backtest_equals_the_oracle_and_what_computations_record(
    engine: Engine, specs: list[DefinitionSpec], facts: list[Any], stretch: tuple[int, int, Step], alone: float
) -> None:
    player = Player(engine, specs)
    for fact in facts:
        player.take(fact)
    start = histories.T + stretch[0] * HOUR
    with mock.patch.object(backtesting, "_ALONE", alone):
        found = {
            spec.key: run(player.world, spec.key, start, start + stretch[1] * HOUR, step=stretch[2]) for spec in specs
        }
    for number, as_of in enumerate(each.as_of for each in found["first"].past):
        reports = player.world.compute(as_of=as_of)
        player.expect(as_of)
        for spec in specs:
            past, report = found[spec.key].past[number], reports[spec.key]
            assert (past.as_of, past.members) == (as_of, in_it(player, spec)), (spec.query, as_of)
            assert (past.members, past.tally) == (report.members, report.progress.tally), (spec.query, as_of)


def in_it(player: Player, spec: DefinitionSpec) -> int:
    """How many are in, or have a value, as the oracle says."""
    values = [person.definitions[spec.key] for person in player.people.values() if spec.key in person.definitions]
    return len(values) if spec.kind == "computed_trait" else sum(value is True for value in values)


def run(
    world: World, key: str, start: datetime, end: datetime, *specs: DefinitionSpec, step: Step = Step.DAY
) -> Backtest:
    return backtest(world.engine, world.context, specs, key, start=start, end=end, step=step)


def numbers(found: Backtest) -> list[tuple[datetime, int, int, int, int]]:
    return [
        (each.as_of, each.members, each.tally.entered, each.tally.exited, each.tally.changed) for each in found.past
    ]


def contents(engine: Engine) -> dict[str, Sequence[Any]]:
    with engine.begin() as connection:
        return {
            table: connection.execute(text(f"SELECT {table}::text FROM {table} ORDER BY 1")).scalars().all()
            for table in WRITTEN
        }
