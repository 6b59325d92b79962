"""Random histories and definitions, any sequence of ticks: incremental = full computation = a plain Python oracle."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync.definitions.model import DefinitionSpec
from tests.oracle.evaluate import Event, Person, is_member, value_of
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXAMPLES = 300 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 25

values = st.sampled_from(
    [1, 2.5, -3, "120", "1e3", "n/a", "", "a", "b", "A", True, False, None, 0, "2026-02-27", {"k": 1}, ["x"]]
)
events = st.fixed_dictionaries(
    {},
    optional={
        "p": values,
        "q": values,
        "items": st.lists(st.fixed_dictionaries({}, optional={"sku": values}), max_size=3),
        "deep": st.fixed_dictionaries({}, optional={"x": values}),
    },
)
names = st.sampled_from(["A", "B"])
windows = st.sampled_from(
    ["", ".within(2 hours)", ".within(1 day)", ".within(3 days)", ".between(1 day, 2 days)", ".between(2 hours, 1 day)",
     ".within(2 days).between(1 hours, 9 days)"]
)  # fmt: skip
paths = st.sampled_from(
    ["property('p')", "property('q')", "property('deep.x')", "property('items.$.sku')", "context('page.url')"]
)
comparisons = st.sampled_from(
    [" = 1", " != 'a'", " > 1", " >= '120'", " < 2.5", " <= 0", ".exists()", ".absent()", ".contains('a', '2')",
     ".omits('a')", ".starts_with('1')", ".ends_with('a')", ".one_of('a', 1, 'true')", ".none_of('b', '1e3')",
     ".before_date(2026-03-01)", ".after_date('2026-02-26')", " = 'true'", ".differs('n/a')", ".within_last(3 days)",
     " = trait('plan')", " > trait('spent')"]
)  # fmt: skip
filters = st.one_of(
    st.just(""),
    st.builds(".where({}{})".format, paths, comparisons),
    st.builds(".where({}{} OR NOT {}{})".format, paths, comparisons, paths, comparisons),
    st.just(".sources(exclude: 'app')"),
)
streams = st.builds("event('{}'){}{}".format, names, filters, windows)
counts = st.sampled_from(
    [".count() >= 1", ".count() = 0", ".count() < 2", ".count() > 1", ".count() = 2", ".count() != 1", ".count() <= 0"]
)
reducers = st.one_of(
    st.just("count()"),
    st.builds("{}({})".format, st.sampled_from(["sum", "avg", "min", "max", "first", "last", "unique"]), paths),
    st.builds("unique({}).count()".format, paths),
    st.builds("mode({}, {})".format, paths, st.sampled_from([1, 2])),
    st.builds("max({} as string)".format, paths),
)
aggregated = st.one_of(
    st.builds("{}.sum({}){}".format, streams, paths, st.sampled_from([" >= 1", " = 0", ".absent()", " < 100"])),
    st.builds("{}.unique({}).count(){}".format, streams, paths, st.sampled_from([" >= 1", " = 0"])),
    st.builds("{}.last({}){}".format, streams, paths, st.sampled_from([" = 'a'", ".exists()", " != 1"])),
)
simple = st.one_of(
    st.builds("{}{}".format, streams, counts),
    aggregated,
    st.builds(
        "trait('plan'){}".format, st.sampled_from([" = 'gold'", " != 'gold'", ".absent()", ".omits('old')", " > 1"])
    ),
    st.sampled_from(["trait('spent') >= 2", "trait('spent').absent()", "trait('first_audience') = 'true'"]),
)
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=4,
)
offsets = st.integers(min_value=-96, max_value=30).map(lambda hours: timedelta(hours=hours))
facts = st.one_of(
    st.tuples(st.just("event"), st.integers(0, 3), names, offsets, events, st.sampled_from(["web", "app"])),
    st.tuples(st.just("trait"), st.integers(0, 3), st.sampled_from(["gold", "silver", 2, None, "1"])),
)
steps = st.one_of(facts, st.tuples(st.just("tick"), st.integers(0, 60)))


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE profiles, identities, traits, events, touches, definitions, definition_versions, runs,"
                " computations, snapshots, changes, told, messages, lanes, sources, destinations"
                " RESTART IDENTITY CASCADE"
            )
        )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=simple.filter(lambda query: "first_audience" not in query and "spent" not in query),
    queries=st.lists(conditions, min_size=2, max_size=3),
    computed=st.lists(st.builds("{}.{}".format, streams, reducers), min_size=2, max_size=3),
    script=st.lists(steps, min_size=4, max_size=14),
    anonymous=st.booleans(),
)
def test_any_sequence_of_ticks_equals_a_full_computation_and_the_oracle(
    engine: Engine, first: str, queries: list[str], computed: list[str], script: list[Any], anonymous: bool
) -> None:
    _empty(engine)
    world = World(engine)
    people = {f"p{number}": Person() for number in range(4)}
    world.person("p0", user_id="u0", emails=("p0@x.io", "p0@y.io"))
    world.person("p1", emails=("p1@x.io",))
    world.person("p2", user_id="u2")
    world.person("p3")
    specs = [audience("first_audience", first), trait("spent", "event('A').within(1 day).sum(property('p'))")]
    specs += [audience(f"audience_{n}", query, include_anonymous=anonymous) for n, query in enumerate(queries)]
    specs += [trait(f"trait_{n}", query) for n, query in enumerate(computed)]
    world.apply(*specs)
    now, arrival = T, 0
    told: dict[tuple[str, str], Any] = {}
    for step in [*script, ("tick", 1)]:
        match step:
            case ("event", person, name, offset, properties, source):
                arrival += 1
                at = now + offset
                context = {"page": {"url": "a"}} if arrival % 2 else None
                world.event(f"p{person}", name, at, context, source=source, **properties)
                people[f"p{person}"].events.append(
                    Event(
                        name=name, timestamp=at, arrival=arrival, source=source, properties=properties, context=context
                    )
                )
            case ("trait", person, value):
                world.trait(f"p{person}", "plan", value, now)
                people[f"p{person}"].traits["plan"] = value
            case ("tick", hours):
                now += timedelta(hours=hours)
                world.compute(as_of=now)
                _check(world, people, specs, now)
                for identity, key, _, value in world.deliver():
                    assert told.get((identity, key)) != value, "nobody is told twice"
                    told[identity, key] = value
    for report in world.compute(as_of=now, full=True).values():
        assert (report.progress.tally.entered, report.progress.tally.exited, report.progress.tally.changed) == (0, 0, 0)
    assert world.waiting() == []
    _check_told(world, specs, told)


def _check(world: World, people: dict[str, Person], specs: list[DefinitionSpec], as_of: datetime) -> None:
    """Snapshots equal the oracle's, in dependency order, as definitions see those before them."""
    for person in people.values():
        known = dict(person.definitions)
        person.definitions.clear()
        person.definitions.update({key: known[key] for key in known if known[key] is False})
    for spec in specs:
        actual = world.values(spec.key)
        for name, person in people.items():
            expected: Any = None
            if name != "p3" or spec.include_anonymous:
                if spec.kind == "audience":
                    expected = is_member(spec.tree, person, as_of)
                else:
                    expected = value_of(spec.tree, person, as_of)
            shown = actual.get(name)
            if spec.kind == "audience":
                assert (shown is True) is (expected is True), (spec.query, name)
                if name in actual:
                    person.definitions[spec.key] = shown
            else:
                assert (shown, type(shown)) == (expected, type(expected)), (spec.query, name)
                if expected is not None:
                    person.definitions[spec.key] = expected


def _check_told(world: World, specs: list[DefinitionSpec], told: dict[tuple[str, str], Any]) -> None:
    """Every identity was last told what is true of its person; those that were never told anything true, nothing."""
    addresses = {"p0": ["p0@x.io", "p0@y.io"], "p1": ["p1@x.io"], "p2": ["u2"]}
    for spec in specs:
        actual = world.values(spec.key)
        for name, identities in addresses.items():
            for identity in identities:
                last = told.get((identity, spec.key))
                if spec.kind == "audience":
                    assert (last is True) is (actual.get(name) is True)
                elif name in actual:
                    assert last == actual[name]
                else:
                    assert last in (None, 0, 0.0, [])
