"""Tests of a workspace, run: what holds, what doesn't and why, on the fixture's database instead of one thrown away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from engage_sync.database.engine import connect_directly
from engage_sync.definitions.scenarios import load_with_scenarios
from engage_sync.outbox import workers
from engage_sync.sync.rehearsing import Outcome, Rehearsal
from engage_sync.sync.verdicts import judge

ENGAGE = "sources: {web: {write_key: k}, app: {write_key: l}}\ndestinations: {iterable: {type: iterable}}\n"
TELLS = "destinations: {iterable: {identify: true, track: true}}\n"
RECENT = "name: Recent\nquery: event('Order').within(30 days).count() >= 1\n" + TELLS
SPENT = "name: Spent\nquery: event('Order').within(30 days).sum(property('total'))\n" + TELLS
BIG = "name: Big\nquery: trait('spent') > 100 AND trait('plan') = 'gold'\n" + TELLS

Run = Callable[..., list[Outcome]]


@pytest.fixture
def run(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Run]:
    """Runs the tests in a text, in a workspace of these definitions."""
    with connect_directly(database_url, application="test") as alive:
        worker = workers.register(alive)

        def run_them(tests: str, engage: str = ENGAGE, **definitions: str) -> list[Outcome]:
            files = {"engage.yml": engage, "tests/t.yml": tests}
            files |= {f"{'traits' if key == 'spent' else 'audiences'}/{key}.yml": it for key, it in definitions.items()}
            for name, content in files.items():
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text(content)
            workspace, scenarios = load_with_scenarios(tmp_path, {})
            rehearsal = Rehearsal(engine=engine, workspace=workspace, worker=worker, installation=uuid.uuid4())
            return [rehearsal.run(scenario) for scenario in scenarios]

        yield run_them


def said(outcomes: list[Outcome]) -> list[str]:
    return [f"{each.position.line}: {each.message}" for outcome in outcomes for each in outcome.failures]


def test_membership_and_messages_follow_the_clock(run: Run, engine: Engine) -> None:
    outcomes = run(
        """
name: t
given:
  - {type: identify, userId: u1, traits: {email: ann@x.io}, timestamp: 2026-01-01}
  - {type: track, userId: u1, event: Order, timestamp: 2026-01-01T10:00:00Z}
then:
  - {at: 2026-01-02, in: {recent: u1}, messages: {recent: {ann@x.io: {identify: true, track: Audience Entered}, u1: nothing}}}
  - {at: 2026-01-31T10:00:00Z, in: {recent: u1}, messages: {recent: {ann@x.io: nothing}}}
  - {at: 2026-01-31T10:00:01Z, out: {recent: u1}, messages: {recent: {ann@x.io: {identify: false, track: Audience Exited}}}}
""",  # noqa: E501
        recent=RECENT,
    )
    assert said(outcomes) == []
    with engine.connect() as connection:
        scopes = connection.execute(text("SELECT cause, scope, entered, exited FROM runs ORDER BY id")).all()
    assert [tuple(row) for row in scopes] == [
        ("first", "all", 1, 0),
        ("manual", "dirty", 0, 0),
        ("manual", "dirty", 0, 1),
    ], "increments, not computations from the start"


def test_what_fails_says_what_was_found_and_why(run: Run) -> None:
    (outcome,) = run(
        """
name: t
given:
  - {type: identify, userId: u1, traits: {plan: silver}}
  - {type: track, userId: u1, event: Order, timestamp: 2026-01-01, properties: {total: 120}}
then:
  - at: 2026-01-02
    in: {big: u1}
    out: {recent: u1}
    values: {spent: {u1: 120.5}}
    messages: {recent: {u1: {identify: true}}}
""",
        recent=RECENT,
        spent=SPENT,
        big=BIG,
    )
    assert [(each.message, each.hint) for each in outcome.failures] == [
        ("big, user_id:u1: expected in, found out", 'was never in; the trait plan is "silver"; spent is 120.0'),
        (
            "recent, user_id:u1: expected out, found in",
            "entered at 2026-01-02T00:00:00Z; Order: 1 so far, the last at 2026-01-01T00:00:00Z",
        ),
        (
            "spent, user_id:u1: expected 120.5, found 120.0",
            "120.0 since 2026-01-02T00:00:00Z; Order: 1 so far, the last at 2026-01-01T00:00:00Z",
        ),
        (
            "recent, user_id:u1: expected identify true, found identify true and track Audience Entered",
            "entered at 2026-01-02T00:00:00Z; Order: 1 so far, the last at 2026-01-01T00:00:00Z",
        ),
    ]


def test_members_are_those_and_nobody_else(run: Run) -> None:
    given = "given: [{type: track, userId: u1, event: Order}, {type: track, userId: u2, event: Order}]\n"
    outcomes = run("name: t\n" + given + "then: [{at: 2026-01-01, members: {recent: u1}}]\n", recent=RECENT)
    assert said(outcomes) == ["3: recent, user_id:u2: expected out, as not among the members, found in"]


def test_a_test_knows_nothing_of_the_one_before(run: Run) -> None:
    test = "given: [{type: track, userId: u1, event: Order}], then: [{at: 2026-01-01, members: {recent: u1}}]"
    later = "given: [{type: track, userId: u2, event: Order}], then: [{at: 2025-01-01, members: {recent: u2}}]"
    outcomes = run(f"tests:\n- {{name: a, {test}}}\n- {{name: b, {later}}}\n", recent=RECENT)
    assert said(outcomes) == []


def test_an_event_of_the_future_counts_from_its_instant_on(run: Run) -> None:
    outcomes = run(
        """
name: t
given: [{type: track, userId: u1, event: Order, timestamp: 2026-01-03}]
then:
  - {at: 2026-01-02, out: {recent: u1}}
  - {at: 2026-01-04, in: {recent: u1}}
""",
        recent=RECENT,
    )
    assert said(outcomes) == []


def test_a_definition_is_made_at_the_first_step(run: Run) -> None:
    outcomes = run(
        """
name: t
given: [{type: track, userId: u1, event: Order, timestamp: 2026-01-01}]
then:
  - {at: 2026-01-02, out: {recent: u1}}
  - {at: 2026-01-04, in: {recent: u1}, calls: [{type: track, userId: u1, event: Order}]}
""",
        recent=RECENT + "include_historical_data: false\n",
    )
    assert said(outcomes) == []


def test_who_is_anonymous_and_who_was_refused_is_said(run: Run) -> None:
    (outcome,) = run(
        """
name: t
given:
  - {type: track, anonymousId: a1, event: Order}
  - {type: identify, userId: u1, context: {externalIds: [{type: email, id: "1@x.io"}, {type: email, id: "2@x.io"}]}}
  - {type: identify, userId: u1, context: {externalIds: [{type: email, id: "3@x.io"}, {type: email, id: "4@x.io"}]}}
  - {type: identify, userId: u1, context: {externalIds: [{type: email, id: "5@x.io"}, {type: email, id: "6@x.io"}]}}
then: [{at: 2026-01-01, in: {recent: [anonymous_id:a1, "6@x.io"]}}]
""",
        recent=RECENT,
    )
    assert [(each.found, each.hint.partition(":")[0]) for each in outcome.failures] == [
        ("out", "anonymous"),
        ("nobody", "no profile has this identifier"),
    ]


def test_sources_can_be_named(run: Run) -> None:
    query = "name: Recent\nquery: |\n  event('Order').sources(exclude: 'app').count() >= 1\n"
    outcomes = run(
        """
name: t
given: [{type: track, userId: u1, event: Order, source: app}, {type: track, userId: u2, event: Order}]
then: [{at: 2026-01-01, members: {recent: u2}}]
""",
        recent=query,
    )
    assert said(outcomes) == []


def test_lists_and_objects_are_compared_whatever_the_type_of_their_numbers(run: Run) -> None:
    spent = "name: Spent\nquery: event('Order').last(property('it'))\n"
    outcomes = run(
        """
name: t
given: [{type: track, userId: u1, event: Order, properties: {it: {a: [1, x], b: 0.3}}}]
then:
  - {at: 2026-01-01, values: {spent: {u1: {a: [1.0, x], b: 0.30000000000000004}}}}
  - {at: 2026-01-01, values: {spent: {u1: {a: [true, x], b: 0.3}}}}
""",
        spent=spent,
    )
    assert said(outcomes) == ['6: spent, user_id:u1: expected {"a":[true,"x"],"b":0.3}, found {"a":[1,"x"],"b":0.3}']


def test_more_messages_than_are_taken_of_one_person_at_once(run: Run) -> None:
    keys = [f"a{number}" for number in range(24)]
    definitions = {key: RECENT.replace("Recent", key) for key in keys}
    told = ", ".join(f"{key}: {{u1: {{identify: true, track: Audience Entered}}}}" for key in keys)
    nothing = ", ".join(f"{key}: {{u1: nothing}}" for key in keys)
    outcomes = run(
        f"""
name: t
given: [{{type: track, userId: u1, event: Order}}]
then:
  - {{at: 2026-01-01, messages: {{{told}}}}}
  - {{at: 2026-01-01, messages: {{{nothing}}}}}
""",
        **definitions,
    )
    assert said(outcomes) == []


def test_what_each_of_several_destinations_is_told_counts(run: Run) -> None:
    (outcome,) = run(
        """
name: t
given: [{type: track, userId: u1, event: Order}]
then:
  - {at: 2026-01-01, messages: {recent: {u1: {identify: true, track: [Audience Entered, Came]}}}}
  - {at: 2026-03-01, messages: {recent: {u1: {identify: false, track: Audience Exited}}}}
  - {at: 2026-03-01, messages: {recent: {u1: {identify: false}}}}
""",
        engage=ENGAGE.replace("{iterable: {type: iterable}}", "{iterable: {type: iterable}, other: {type: iterable}}"),
        recent=RECENT.replace("track: true}", "track: true}, other: {identify: true, track: {entered: Came}}"),
    )
    assert said([outcome]) == ["7: recent, user_id:u1: expected identify false, found no message"]


def test_a_definition_that_cant_be_computed_fails_its_checks_with_its_error(run: Run, engine: Engine) -> None:
    (outcome,) = run("name: t\nthen: [{at: 2026-01-01, members: {recent: []}}]\n", recent=RECENT)
    (step,) = outcome.scenario.steps
    with engine.connect() as connection:
        (failure,) = judge(connection, step, [], [], {"recent": "out of memory\nand more"})
    assert failure.message == "recent could not be computed: out of memory"
