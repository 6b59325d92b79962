"""Random people, definitions and steps, and a player that takes the same steps in the database and in the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync.database import scratch
from engage_sync.definitions.language import references, tree
from engage_sync.definitions.model import DefinitionSpec
from tests.oracle.evaluate import Account, Event, Person, is_member, value_of
from tests.oracle.told import Identity, Told, same
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# --- facts ----------------------------------------------------------------------------------------------------------

values = st.sampled_from(
    [
        *(1, 2.5, -3, 0, 0.1, 0.2, 1e21, 9007199254740993, 1234567890123.455, 1772323200, 1772323200000),
        *("120", "1e3", "-0.5", ".5", "5.", "+5", " 1", "1_0", "NaN", "0x1f", "1e999", "\uff11", "n/a", "", "1"),
        *("a", "b", "A", "Z", "_", "\u00e9", "e\u0301", "\U0001f600", "\uffff", 'say "a"', "a, b", "%", "true"),
        *("2026-02-27", "2026-02-27T12:00:00Z", "2026-02-28T01:30:00.5+02:00", "2026-02-30", "2026-03-01 12:00"),
        *(True, False, None, {"k": 1}, {"x": "a"}, ["x"], ["a", "b"], [1, "1", None], []),
    ]
)
properties = st.fixed_dictionaries(
    {},
    optional={
        "p": values,
        "q": values,
        "items": st.one_of(values, st.lists(st.fixed_dictionaries({}, optional={"sku": values}), max_size=3)),
        "tags": st.lists(values, max_size=3),
        "deep": st.one_of(values, st.fixed_dictionaries({}, optional={"x": values})),
        "0": values,
    },
)
contexts = st.one_of(
    st.none(),
    st.fixed_dictionaries({}, optional={"page": st.fixed_dictionaries({}, optional={"url": values}), "os": values}),
)
names = st.sampled_from(["A", "B"])
moments = st.builds(
    lambda hours, nudge: timedelta(hours=hours) + nudge * MICROSECOND,
    st.one_of(st.sampled_from([-72, -48, -24, -2, 0]), st.integers(-96, 30)),
    st.sampled_from([0, 0, 0, -1, 1]),
)
persons = st.integers(0, 4)
IDENTITIES: list[Identity] = [
    *(("email", f"{name}@x.io") for name in "abcde"),
    *(("user_id", f"u{number}") for number in range(3)),
]
facts = st.one_of(
    st.tuples(st.just("event"), persons, names, moments, properties, contexts, st.sampled_from(["web", "app"])),
    st.tuples(
        st.just("trait"), persons, st.sampled_from(["plan", "joined"]), st.one_of(values, st.just("gold")), moments
    ),
)
groups = st.tuples(
    st.just("group"),
    persons,
    st.sampled_from(["acme", "beta", "gamma"]),
    st.dictionaries(st.sampled_from(["plan", "joined"]), st.one_of(values, st.just("gold")), max_size=2),
    moments,
)
moves = st.one_of(
    st.tuples(st.just("gain"), persons, st.sampled_from(IDENTITIES)),
    st.tuples(st.just("lose"), persons, st.sampled_from(IDENTITIES)),
    st.tuples(st.just("new person"), st.one_of(st.none(), st.sampled_from(IDENTITIES))),
)

# --- definitions ----------------------------------------------------------------------------------------------------

windows = st.sampled_from(
    ["", ".within(2 hours)", ".within(1 day)", ".within(3 days)", ".within(24 hours)", ".between(1 day, 2 days)",
     ".between(2 hours, 1 day)", ".within(2 days).between(60 minutes, 9 days)", ".between(1 day, 1 week)"]
)  # fmt: skip
paths = st.sampled_from(
    ["property('p')", "property('p')", "property('q')", "property('deep.x')", "property('items.$.sku')",
     "property('tags.$')", "property('items')", "property('items.0')", "context('page.url')", "context('os')"]
)  # fmt: skip
LITERALS = ["'a'", "1", "'1e3'", "0", "2.5", "'n/a'", "'true'", "'120'", "'é'", "''", "1772323200", "2026-02-27"]
texts = st.sampled_from(["'a'", "'2'", "'true'", "'\u00e9'", "', '", "'1'", "'\"'"])
numbers = st.sampled_from(["0", "1", "'120'", "-1", "2.5", "'1e3'", "100", "1e21"])
dates = st.sampled_from(["2026-02-27", "'2026-02-27T12:00:00Z'", "2026-03-01T00:00:00Z", "1772323200", "2026-02-28"])
references_to_people = st.sampled_from(["trait('plan')", "trait('joined')", "trait('spent')", "trait('first')"])
lists_of_literals = st.lists(st.sampled_from(LITERALS), min_size=1, max_size=3).map(", ".join)


def compared(scalars: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Any comparison of a value whose type only the data knows; `scalars` are what may stand on its right."""
    equal = st.one_of(st.sampled_from(LITERALS), scalars)
    return st.one_of(
        st.builds(" {} {}".format, st.sampled_from(["=", "!="]), equal),
        st.builds(" {} {}".format, st.sampled_from([">", ">=", "<", "<="]), st.one_of(numbers, scalars)),
        st.builds(
            ".{}({})".format,
            st.sampled_from(["contains", "omits"]),
            st.lists(texts, min_size=1, max_size=2).map(", ".join),
        ),
        st.builds(".{}({})".format, st.sampled_from(["starts_with", "ends_with"]), texts),
        st.builds(".{}({})".format, st.sampled_from(["one_of", "none_of"]), lists_of_literals),
        st.builds(".{}({})".format, st.sampled_from(["before_date", "after_date"]), st.one_of(dates, scalars)),
        st.builds(
            ".{}({})".format,
            st.sampled_from(["within_last", "within_next", "before_last", "after_next"]),
            st.sampled_from(["1 day", "24 hours", "1 week", "90 minutes"]),
        ),
        st.sampled_from([".exists()", ".absent()"]),
    )


def junctions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    )


of_events = st.builds(
    "{}{}".format, st.one_of(paths, references_to_people), compared(st.one_of(paths, references_to_people))
)
typed = st.one_of(
    st.builds("{}({})".format, st.sampled_from(["sum", "avg", "min", "max"]), paths),
    st.builds("unique({}).count()".format, paths),
    st.just("count()"),
)
of_numbers = st.one_of(
    st.builds(" {} {}".format, st.sampled_from([">", ">=", "<", "<=", "=", "!="]), numbers),
    st.sampled_from([" >= 1", " = 0", " < 1", " > 0", " != 0", " <= 0", ".exists()", ".absent()", ".one_of(0, 2)"]),
    st.sampled_from([".none_of(0, 1)", " = trait('plan')", " > trait('spent')", " != trait('joined')"]),
)
untyped = st.one_of(
    st.builds("{}({})".format, st.sampled_from(["first", "last"]), paths),
    st.builds("mode({}, {})".format, paths, st.sampled_from([1, 2])),
)
# What follows an event: windows after it, comparisons with it, and what follows that in turn.
after = st.sampled_from(
    ["", ".within(parent: 2 hours)", ".within(parent: 1 day)", ".between(parent: 1 hours, 1 days)", ".within(1 day)",
     ".within(parent: 3 days).within(parent: 30 hours)", ".within(parent: 1 day).within(2 days)"]
)  # fmt: skip
of_parents = st.sampled_from(
    ["property('p') = property(parent: 'p')", "property(parent: 'q') > 1", "property('p') >= property(parent: 'p')",
     "property('tags.$') = property(parent: 'tags.$')", "property(parent: 'deep.x').exists()"]
)  # fmt: skip
how_often = st.sampled_from(
    [" >= 1", " = 0", " > 1", " < 1", " <= 1", " != 1", " = 1", ".exists()", " >= property('q')"]
)


def following(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    within_them = st.one_of(st.just(""), st.builds(".where({})".format, st.one_of(inner, of_parents)))
    stream = st.builds("event('{}'){}{}".format, names, after, within_them)
    return st.one_of(
        st.builds("{}.count(){}".format, stream, how_often),
        st.builds("NOT {}.count(){}".format, stream, how_often),
        st.builds("{}.{}{}".format, stream, typed, of_numbers),
        st.builds("{}.{}{}".format, stream, untyped, compared(paths)),
        junctions(inner),
    )


funnels = st.recursive(of_events, following, max_leaves=4).filter(lambda query: "event(" in query)
wheres = st.one_of(
    st.builds(".where({})".format, st.recursive(of_events, junctions, max_leaves=3)),
    st.builds(".where({})".format, funnels),
)
filters = st.one_of(
    st.just(""),
    st.just(""),
    wheres,
    st.sampled_from([".sources(exclude: 'app')", ".sources(exclude: 'web', 'other')", ".sources(exclude: 'other')"]),
)


def streams(windows: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    before_or_after = st.one_of(st.tuples(filters, windows), st.tuples(windows, filters)).map("".join)
    return st.builds("event('{}'){}".format, names, before_or_after)


as_strings = st.builds("{}({} as string)".format, st.sampled_from(["min", "max"]), paths)
reducers = st.one_of(
    typed,
    typed,
    untyped,
    as_strings,
    st.builds("unique({})".format, paths),
    st.builds("mode({} as array, 1)".format, st.sampled_from(["property('p')", "property('tags')"])),
)
of_lists = st.sampled_from([".contains('a')", ".omits('a', '1')", ".contains(', ')", ".exists()", ".absent()"])


def expressions(windows: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Single conditions of an audience."""
    return st.one_of(
        st.builds("{}.{}{}".format, streams(windows), typed, of_numbers),
        st.builds("{}.count(){}".format, streams(windows), of_numbers),
        st.builds("{}.{}{}".format, streams(windows), untyped, compared(references_to_people)),
        st.builds("{}.unique({}){}".format, streams(windows), paths, of_lists),
        st.builds("{}{}".format, references_to_people, compared(references_to_people)),
        st.sampled_from(
            ["literal(2026-03-02).within_next(1 day)", "NOT literal('2026-03-02T10:00:00Z').within_last(30 hours)"]
        ),
        st.sampled_from(["trait('plan.k') = 1", "trait('plan.$') = 'a'", "trait('spent') >= 2"]),
        st.sampled_from(["trait('first') = 'true'", "trait('first') = 'false'", "trait('first').absent()"]),
    )


def conditions(windows: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(expressions(windows), junctions, max_leaves=4)


def computed(windows: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    values = st.builds("{}.{}".format, streams(windows), reducers)
    return st.one_of(values, values, values, st.sampled_from(["trait('plan')", "trait('spent')", "trait('plan.k')"]))


def specs(windows: st.SearchStrategy[str] = windows) -> st.SearchStrategy[list[DefinitionSpec]]:
    """Definitions in the order in which they refer to each other: each may use `first` and `spent`."""
    alone = streams(windows)
    return st.builds(
        lambda first, spent, audiences, traits: [
            audience("first", first),
            trait("spent", spent),
            *(audience(f"audience_{n}", query, include_anonymous=a) for n, (query, a) in enumerate(audiences)),
            *(trait(f"trait_{n}", query, include_anonymous=a) for n, (query, a) in enumerate(traits)),
        ],
        st.builds("{}.count(){}".format, alone, st.sampled_from([" >= 1", " = 0", " > 1"])).filter(_is_alone),
        st.builds("{}.sum(property('p'))".format, alone).filter(_is_alone),
        st.lists(st.tuples(conditions(windows), st.booleans()), min_size=1, max_size=3),
        st.lists(st.tuples(computed(windows), st.booleans()), min_size=1, max_size=2),
    )


def specs_of_accounts(windows: st.SearchStrategy[str] = windows) -> st.SearchStrategy[list[DefinitionSpec]]:
    """The same, with definitions of accounts behind them, and one of people that refers to the first of those."""
    of_account = conditions(windows).map(_of_account)
    of_user = st.builds("{} ({})".format, st.sampled_from(["ANY", "ALL", "NOT ANY", "NOT ALL"]), conditions(windows))
    mixed = st.builds("({} {} {})".format, of_user, st.sampled_from(["AND", "OR", "AND NOT"]), of_account)
    asked = st.one_of(of_user, mixed, of_account)
    return st.builds(
        lambda others, audiences, traits: [
            *others,
            *(
                audience(f"accounts_{n}", query, of_accounts=True, include_anonymous=a)
                for n, (query, a) in enumerate(audiences)
            ),
            *(
                trait(f"account_trait_{n}", query, of_accounts=True, include_anonymous=a)
                for n, (query, a) in enumerate(traits)
            ),
            audience("referring", "trait('accounts_0') = 'true' OR trait('accounts_0').absent()"),
        ],
        specs(windows),
        st.lists(st.tuples(asked, st.booleans()), min_size=1, max_size=3),
        st.lists(st.tuples(computed(windows).map(_of_account), st.booleans()), min_size=1, max_size=2),
    )


def _of_account(query: str) -> str:
    """Of an account there are traits only that calls set."""
    return query.replace("trait('first')", "trait('plan')").replace("trait('spent')", "trait('joined')")


def _is_alone(query: str) -> bool:
    return "trait('first')" not in query and "trait('spent')" not in query


# --- playing them ---------------------------------------------------------------------------------------------------


def nothing(spec: DefinitionSpec) -> Any:
    """What is told where there is no membership or value."""
    if spec.kind == "audience":
        return False
    match asked_of(spec):
        case tree.Aggregate(reducer=tree.Count() | tree.UniqueCount() | tree.Sum()):
            return 0
        case tree.Aggregate(reducer=tree.Unique()):
            return []
        case _:
            return None


def asked_of(spec: DefinitionSpec) -> Any:
    """The condition or value itself, whether it is asked of people or of accounts."""
    return spec.tree.of if isinstance(spec.tree, tree.OfAccounts) else spec.tree


@dataclass
class Membership:
    """Who belongs to an account, since their newest group call; and what is known of it. `number` orders accounts."""

    number: int
    members: dict[str, datetime] = field(default_factory=dict)
    traits: dict[str, tuple[datetime, Any]] = field(default_factory=dict)


@dataclass
class Player:
    """Takes each step in the database and in the oracle."""

    engine: Engine
    specs: Sequence[DefinitionSpec]
    now: datetime = T
    people: dict[str, Person] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    identities: dict[str, set[Identity]] = field(default_factory=dict)
    stamps: dict[tuple[str, str], datetime] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    arrivals: int = 0
    accounts: dict[str, Membership] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.engine.begin() as connection:
            scratch.empty(connection)
        self.world = World(self.engine)
        self.world.apply(*self.specs)
        self.told = {spec.key: Told(nothing=nothing(spec)) for spec in self.specs}
        for its in (("u0", "a@x.io", "b@x.io"), ("", "c@x.io"), ("u1",), ()):
            self.new_person([("email" if "@" in value else "user_id", value) for value in its if value])

    def take(self, step: Sequence[Any]) -> None:
        """One step that changes facts."""
        match step:
            case ("event", number, name, offset, properties, context, source):
                self._event(self._name(number), name, self.now + offset, properties, context, source)
            case ("trait", number, name, value, offset):
                self._trait(self._name(number), name, value, self.now + offset)
            case ("group", number, group_id, traits, offset):
                self._group(self._name(number), group_id, traits, self.now + offset)
            case ("gain", number, identity):
                self._gain(self._name(number), identity)
            case ("lose", number, identity):
                if identity in self.identities[self._name(number)]:
                    self._lose(self._name(number), identity)
            case ("new person", identity):
                free = identity is not None and not any(identity in its for its in self.identities.values())
                self.new_person([identity] if free else [])
            case _:
                raise AssertionError(step)

    def new_person(self, identities: Sequence[Identity]) -> None:
        name = f"p{len(self.people)}"
        self.people[name] = Person(keys=frozenset(spec.key for spec in self.specs))
        self.identities[name] = set(identities)
        if identities:
            self.known.add(name)
        with self.engine.begin() as connection:
            # As the resolver says it: of a new profile, no more than that it is new.
            profile = connection.execute(
                text("INSERT INTO profiles (is_known) VALUES (:known) RETURNING id"), {"known": bool(identities)}
            ).scalar_one()
            connection.execute(
                text("INSERT INTO touches (profile_id, reasons) VALUES (:profile, ARRAY['created'])"),
                {"profile": profile},
            )
            for kind, value in identities:
                connection.execute(
                    text("INSERT INTO identities (profile_id, type, value) VALUES (:profile, :type, :value)"),
                    {"profile": profile, "type": kind, "value": value},
                )
        self.world.people[name] = profile

    # --- the oracle ---------------------------------------------------------------------------------------------

    def expect(self, as_of: datetime, keys: Sequence[str] | None = None) -> dict[tuple[str, str], Any]:
        """Evaluate definitions (None: all) and what they refer to; (identity, key) → what must now be said."""
        said = {}
        chosen = self._with_references(keys)
        for spec in self.specs:
            if spec.key not in chosen:
                continue
            values = {name: self._evaluate(spec, name, as_of) for name in self.people}
            for name, value in values.items():
                if value is None:
                    self.people[name].definitions.pop(spec.key, None)
                else:
                    self.people[name].definitions[spec.key] = value
            for (_, identity), value in self.told[spec.key].tell(values, self.identities).items():
                said[identity, spec.key] = value
        return said

    def check_snapshots(self) -> None:
        """The snapshots are what the oracle says, down to the difference between 1 and 1.0 where we make the number."""
        for spec in self.specs:
            expected = {
                name: person.definitions[spec.key]
                for name, person in self.people.items()
                if spec.key in person.definitions
            }
            actual = self.world.values(spec.key)
            assert set(actual) == set(expected), (spec.key, spec.query, actual, expected)
            for name, value in actual.items():
                assert same(value, expected[name]), (spec.key, spec.query, name, actual, expected)
                if _is_made(spec):
                    assert type(value) is type(expected[name]), (spec.query, value, expected[name])

    def check_told(self) -> None:
        """After delivery, each identity was told what it should have been, or nothing and it should know of nothing."""
        confirmed = self._confirmed()
        for key, told in self.told.items():
            for identity in {*told.last, *(found for found, its in confirmed if its == key)}:
                last = confirmed.get((identity, key), told.nothing)
                assert same(last, told.last.get(identity, told.nothing)), (key, identity, confirmed, told)

    def _evaluate(self, spec: DefinitionSpec, name: str, as_of: datetime) -> Any:
        person = self.people[name]
        counts = name in self.known or spec.include_anonymous
        if spec.of_accounts:
            value = self._of_accounts(spec, name, as_of) if counts else None
            return False if value is None and self._was_in(spec, person) else value
        if spec.kind == "computed_trait":
            return value_of(spec.tree, person, as_of) if counts else None
        if counts and is_member(spec.tree, person, as_of):
            return True
        return False if spec.key in person.definitions else None

    def _was_in(self, spec: DefinitionSpec, person: Person) -> bool:
        return spec.kind == "audience" and spec.key in person.definitions

    def _of_accounts(self, spec: DefinitionSpec, name: str, as_of: datetime) -> Any:
        """Whether any account of a person is meant; or the value of the one that they were last grouped into."""
        mine = [each for each in self.accounts.values() if name in each.members]
        if spec.kind == "audience":
            return any(is_member(asked_of(spec), self._account(each, spec), as_of) for each in mine) or None
        newest = max(mine, key=lambda each: (each.members[name], -each.number), default=None)
        return None if newest is None else value_of(asked_of(spec), self._account(newest, spec), as_of)

    def _account(self, membership: Membership, spec: DefinitionSpec) -> Account:
        users = [name for name in membership.members if name in self.known or spec.include_anonymous]
        traits = {name: value for name, (_, value) in membership.traits.items()}
        return Account(users=[self.people[name] for name in users], traits=traits)

    def _with_references(self, keys: Sequence[str] | None) -> set[str]:
        if keys is None:
            return {spec.key for spec in self.specs}
        chosen = set(keys)
        for spec in reversed(self.specs):
            if spec.key in chosen:
                chosen |= references(spec.tree)
        return chosen

    def _confirmed(self) -> dict[tuple[Identity, str], Any]:
        with self.engine.begin() as connection:
            rows = connection.execute(
                text(
                    """
                    SELECT identity_type, identity_value, key, confirmed
                    FROM told JOIN definitions ON definitions.id = definition_id
                    WHERE confirmed IS NOT NULL
                    """
                )
            )
            return {((row[0], row[1]), row[2]): row[3] for row in rows}

    # --- facts in both ------------------------------------------------------------------------------------------

    def _name(self, number: int) -> str:
        return f"p{number % len(self.people)}"

    def _event(
        self, person: str, name: str, at: datetime, properties: dict[str, Any], context: Any, source: str
    ) -> None:
        self.arrivals += 1
        self.world.event(person, name, at, context, source=source, **properties)
        self.people[person].events.append(
            Event(name=name, timestamp=at, arrival=self.arrivals, source=source, properties=properties, context=context)
        )

    def _trait(self, person: str, name: str, value: Any, at: datetime) -> None:
        self.world.trait(person, name, value, at)
        if self.stamps.get((person, name), at) <= at:
            self.stamps[person, name] = at
            self.people[person].traits[name] = value

    def _group(self, person: str, group_id: str, traits: dict[str, Any], at: datetime) -> None:
        self.world.group(person, group_id, at, **traits)
        account = self.accounts.setdefault(group_id, Membership(number=len(self.accounts)))
        account.members[person] = max(at, account.members.get(person, at))
        for name, value in traits.items():
            if name not in account.traits or account.traits[name][0] <= at:
                account.traits[name] = at, value

    def _gain(self, person: str, identity: Identity) -> None:
        holder = next((name for name, its in self.identities.items() if identity in its), None)
        if holder == person:
            return
        if holder is not None:
            self._lose(holder, identity)
        self.world.gain(person, *identity)
        self.identities[person].add(identity)
        self.known.add(person)

    def _lose(self, person: str, identity: Identity) -> None:
        self.world.lose(person, *identity)
        self.identities[person].discard(identity)


def _is_made(spec: DefinitionSpec) -> bool:
    """Whether the value is of our making, rather than as somebody sent it."""
    made = tree.Count | tree.Sum | tree.Avg | tree.Min | tree.Max | tree.Unique | tree.UniqueCount
    asked = asked_of(spec)
    return isinstance(asked, tree.Aggregate) and isinstance(asked.reducer, made)
