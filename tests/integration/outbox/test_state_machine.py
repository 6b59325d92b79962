"""Any order of enqueuing, claiming, sending, losing, settling, dying, taking over and replaying, on a real database.

The destination is a list of what arrived; some workers say several values in one request. What holds after each step:
a message's id never stands for another one; a person's messages arrive in their order, and one that arrives again does
so before anything newer, but for what went along with it. In the end nothing is lost: each person's last words are what
is true, and every event and forwarded call arrived or is a dead letter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text

from engage_sync.database.engine import connect_directly
from engage_sync.definitions import versions
from engage_sync.delivery.coalescing import gather
from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Joining
from engage_sync.messages.message import Message
from engage_sync.messages.render import Sender, render
from engage_sync.outbox import calls, claim, lanes, outages, settle, workers
from engage_sync.outbox.calls import NewCall
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.lanes import Leaving
from engage_sync.outbox.outages import Kind
from engage_sync.outbox.settle import Failed, Postponed, Settlement, Taken, Unsent
from engage_sync.snapshots import states
from engage_sync.sync import replaying, telling
from tests.integration.outbox.under_way import Arrived, Request, Worker
from tests.world import TRAIT_BOTH, World, trait

TIMEOUT = 10.0
PEOPLE = ("ann", "bob")
KEYS = ("spent", "visits")
WORKERS = (0, 1)
people = st.sampled_from(PEOPLE)
who = st.sampled_from(WORKERS)
ANSWERS = ("taken", "taken", "refused", "failed", "given up", "refusing", "lost")
_CLEAN = text("TRUNCATE messages, lanes, delivered, dead_letters, outages, told, snapshots, workers")
_TIME_PASSES = (
    text("UPDATE messages SET started_at = started_at - interval '11 s' WHERE started_at IS NOT NULL"),
    text("UPDATE lanes SET due_at = due_at - interval '11 s'"),
    text("UPDATE outages SET probe_at = probe_at - interval '61 s' WHERE until IS NULL"),
)


class Delivery(RuleBasedStateMachine):
    engine: Engine
    url: str
    world: World

    @initialize()
    def empty(self) -> None:
        self.truth: dict[tuple[str, str], int] = {}
        self.arrived: dict[int, list[Arrived]] = {profile: [] for profile in self.world.people.values()}
        self.by_id: dict[str, bytes] = {}
        self.flying: list[Request] = []
        self.workers: dict[int, Worker] = {}
        self.forwarded: list[str] = []
        with self.engine.begin() as connection:
            connection.execute(_CLEAN)
            self.definitions = {each.key: each for each in versions.load(connection)}
            installation = connection.execute(text("SELECT token FROM installation")).scalar_one()
        self.destination = self.world.context.destinations["iterable"]
        self.sender = Sender(
            installation=installation, space_slug="s", space_id="spa_x", destination_slug="iterable", integration=None
        )
        given = {"api_key": "k", "base_url": "http://localhost", "coalesce": True}
        config = SimpleNamespace(slug="iterable", type="iterable", settings=given, rate_limits={})
        self.iterable = registry.build(config)
        for number in WORKERS:
            self.join(number)

    # --- what is to be said -------------------------------------------------------------------------------------

    @rule(name=people, key=st.sampled_from(KEYS), value=st.integers(1, 4))
    def change(self, name: str, key: str, value: int) -> None:
        """The snapshot changes, and the one rule enqueues what follows."""
        self.truth[name, key] = value
        with self.engine.begin() as connection:
            self.say(connection, name, key, value)

    def say(self, connection: Connection, name: str, key: str, value: int) -> None:
        profile, definition = self.world.people[name], self.definitions[key]
        states.lock(connection, definition.id)
        connection.execute(
            text(
                "INSERT INTO snapshots (profile_id, definition_id, value, since)"
                " VALUES (:p, :d, to_jsonb(CAST(:v AS integer)), now())"
                " ON CONFLICT (profile_id, definition_id) DO UPDATE SET value = excluded.value"
            ),
            {"p": profile, "d": definition.id, "v": value},
        )
        channels = telling.channels(definition, self.world.context.destinations)
        job = telling.Job(definition=definition, channels=channels, profiles=[profile], moved=[], run=1)
        as_of = connection.execute(text("SELECT now()")).scalar_one()
        telling.tell(connection, [job], as_of=as_of, priority=Priority.REALTIME)

    @rule(name=people)
    def forward(self, name: str) -> None:
        message_id = f"m{len(self.forwarded)}"
        self.forwarded.append(message_id)
        call = {"type": "track", "event": "x", "messageId": message_id}
        with self.engine.begin() as connection:
            as_of = connection.execute(text("SELECT now()")).scalar_one()
            new = NewCall(
                destination_id=self.destination, profile_id=self.world.people[name], source_id=self.world.source,
                identity_type="email", identity_value=f"{name}@x.io", call_type="track", value='"x"',
                call=orjson.dumps(call).decode(), as_of=as_of,
            )  # fmt: skip
            calls.append(connection, [new])

    @rule()
    def replay(self) -> None:
        replaying.replay(self.engine, self.world.context, Chosen())

    # --- workers ------------------------------------------------------------------------------------------------

    @rule(number=who)
    def join(self, number: int) -> None:
        """A worker starts, where there is none; whoever starts takes over from the dead, as each does now and then."""
        if number not in self.workers:
            connection = connect_directly(self.url, application="test worker")
            self.workers[number] = Worker(workers.register(connection), connection)
        with self.engine.begin() as connection:
            workers.reclaim(connection, TIMEOUT, self.workers[number].id)

    @rule(number=who)
    def die(self, number: int) -> None:
        """At any point: what it sent is on its way, and nobody waits for the answers."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return
        for request in self.flying:
            if request.worker is worker:
                request.worker = None
        worker.connection.close()
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
            held = text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = :id)")
            while watching.execute(held, {"id": worker.id}).scalar_one():
                watching.execute(text("SELECT pg_sleep(0.002)"))

    @rule(number=who, joins=st.booleans())
    def take(self, number: int, joins: bool) -> None:
        """Claim, of a held destination by a probe, and start the first message of each lane."""
        worker = self.workers.get(number)
        if worker is None or worker.lanes:
            return
        with self.engine.begin() as connection:
            worker.is_probe = outages.take_probe(connection, self.destination) is not None
            most = 1 if worker.is_probe else 2
            found = claim.claim(connection, self.destination, worker.id, most, is_probe=worker.is_probe)
        worker.joins = joins
        worker.lanes = {lane.profile_id: deque(lane.messages) for lane in found}
        for profile in list(worker.lanes):
            self.go_on(worker, profile)

    def go_on(self, worker: Worker, profile: int) -> None:
        """Start the lane's next message and send it, or give the lane back."""
        waiting = worker.lanes[profile]
        if not waiting:
            self.leave(worker, profile)
            return
        messages = self.gathered(worker, waiting)
        with self.engine.begin() as connection:
            wanted = [Wanted(each.id, profile, is_probe=worker.is_probe) for each in messages]
            started = claim.start(connection, worker.id, wanted, TIMEOUT)
            if len(started) < len(messages):
                settle.settle(connection, worker.id, [Unsent(message=each) for each in messages if each.id in started])
        if len(started) == len(messages):
            worker.busy.add(profile)
            self.flying.append(Request(messages, worker))
        else:
            self.leave(worker, profile)

    def gathered(self, worker: Worker, waiting: deque[Message]) -> tuple[Message, ...]:
        """The next message, and what goes along with it."""
        message = waiting.popleft()
        if message.definition_id is None or not worker.joins or message.profile_id in worker.apart:
            return (message,)
        found = gather(message, self.request(message), waiting, cast(Joining, self.iterable), self.request)
        return (message, *found.more)

    def request(self, message: Message) -> Any:
        (request,) = cast(Any, self.iterable.requests(self.call(message)))
        return request

    def call(self, message: Message) -> dict[str, Any]:
        call = render(message, self.sender)
        assert call is not None
        return call

    def leave(self, worker: Worker, profile: int) -> None:
        worker.lanes.pop(profile)
        worker.busy.discard(profile)
        with self.engine.begin() as connection:
            lanes.release(connection, self.destination, worker.id, [Leaving(profile)], TIMEOUT)

    # --- requests -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), answer=st.sampled_from(ANSWERS))
    def answer(self, data: st.DataObject, answer: str) -> None:
        """A request ends, for its worker if that still lives."""
        request = data.draw(st.sampled_from(self.flying))
        if answer == "given up":
            # Nobody gives up before the request can't be on its way any more.
            self.flying.remove(request)
            if data.draw(st.booleans()):
                self.arrive(request)
        elif answer != "lost":
            self.flying.remove(request)
            if answer == "taken":
                self.arrive(request)
        self.end(request, answer)

    def end(self, request: Request, answer: str) -> None:
        """What the worker makes of it: "lost" and "given up" are without an answer, so that it may still arrive."""
        worker, request.worker = request.worker, None
        if worker is None:
            return
        profile = request.messages[0].profile_id
        if answer == "refused" and len(request.messages) > 1:
            # One of them is wrong: each goes by itself.
            worker.apart.add(profile)
            answer = "refusing"
        with self.engine.begin() as connection:
            settled = settle.settle(connection, worker.id, list(self.settlements(request, answer)))
            if worker.is_probe and answer == "taken":
                outages.end(connection, self.destination)
        assert not settled.busy
        worker.busy.discard(profile)
        if answer in ("taken", "refused") or (answer == "given up" and len(request.messages) == 1):
            self.go_on(worker, profile)
        else:
            self.leave(worker, profile)

    def settlements(self, request: Request, answer: str) -> Iterator[Settlement]:
        for place, message in enumerate(request.messages):
            match answer:
                case "taken":
                    yield Taken(message=message)
                case "refused":
                    yield Failed(message=message, reason="400")
                case "failed":
                    yield Postponed(message=message, reason="500", unanswered=False)
                case "given up" if place == 0:
                    yield Failed(message=message, reason="no answer", is_unknown=True)
                case "lost" | "given up":
                    yield Postponed(message=message, reason="no answer", unanswered=True)
                case _:
                    yield Unsent(message=message)

    @precondition(lambda self: any(request.worker is None for request in self.flying))
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from([each for each in self.flying if each.worker is None]))
        self.flying.remove(request)
        self.arrive(request)

    @rule(arrives=st.booleans())
    def time_passes(self, arrives: bool) -> None:
        """Longer than a request lives: whoever waits for an answer gave that up, and nothing is on its way any more."""
        for request in list(self.flying):
            self.end(request, "lost")
            self.flying.remove(request)
            if arrives:
                self.arrive(request)
        with self.engine.begin() as connection:
            for statement in _TIME_PASSES:
                connection.execute(statement)

    @rule(begins=st.sampled_from([True, False, False]))
    def outage(self, begins: bool) -> None:
        with self.engine.begin() as connection:
            if begins:
                outages.begin(connection, self.destination, Kind.FAILING, "down", ago=0)
            else:
                outages.end(connection, self.destination)

    def arrive(self, request: Request) -> None:
        along = frozenset(message.id for message in request.messages)
        for message in request.messages:
            call = self.call(message)
            key = None
            if message.definition_id is not None:
                key = (message.definition_id, message.identity_value, message.call_type)
            content = orjson.dumps({name: value for name, value in call.items() if name != "timestamp"})
            new = Arrived(message.id, call["messageId"], content, key, message.told_version or 0, along)
            before = self.arrived[message.profile_id]
            assert self.by_id.setdefault(new.id, content) == content, "one id, one message"
            newer = [each for each in before if each.message > new.message]
            assert all(new.message in each.along for each in newer), "behind something newer of this person"
            assert all(new.version >= each.version for each in before if each.key == key), "an older value of one thing"
            before.append(new)

    # --- always, and in the end ---------------------------------------------------------------------------------

    @invariant()
    def whoever_waits_has_a_lane(self) -> None:
        with self.engine.connect() as connection:
            stranded = text(
                "SELECT count(*) FROM messages LEFT JOIN lanes USING (profile_id, destination_id)"
                " WHERE lanes.profile_id IS NULL"
            )
            assert connection.execute(stranded).scalar_one() == 0

    def teardown(self) -> None:
        if not hasattr(self, "truth"):
            return
        for number in WORKERS:
            self.die(number)
        self.join(0)
        for _ in range(200):
            self.time_passes(arrives=False)
            with self.engine.begin() as connection:
                outages.end(connection, self.destination)
            self.join(0)
            self.take(0, joins=False)
            while self.flying:
                request = self.flying.pop()
                self.arrive(request)
                self.end(request, "taken")
            if not self.count("messages") and not replaying.replay(self.engine, self.world.context, Chosen()).waiting:
                break
        else:
            raise AssertionError("what waits is never delivered")
        self.nothing_is_lost()
        self.die(0)

    def nothing_is_lost(self) -> None:
        assert (self.count("messages"), self.count("lanes")) == (0, 0)
        assert self.count("dead_letters WHERE status = 'open'") == 0
        everything = [each for arrived in self.arrived.values() for each in arrived]
        for (name, key), value in self.truth.items():
            wanted = (self.definitions[key].id, f"{name}@x.io", "identify")
            said = [each for each in self.arrived[self.world.people[name]] if each.key == wanted]
            assert orjson.loads(said[-1].content)["traits"][key] == value
        forwarded = [each for each in everything if each.key is None]
        assert len({each.id for each in forwarded}) == len(self.forwarded)
        # An event that didn't arrive was refused, and isn't true any more.
        happened = {(*each.key[:2], each.version) for each in everything if each.key and each.key[2] == "track"}
        named = "SELECT definition_id, identity_value,"
        with self.engine.connect() as connection:
            told = connection.execute(text(f"{named} version FROM told WHERE call_type = 'track'")).all()
            dead = text(f"{named} told_version FROM dead_letters WHERE call_type = 'track'")
            given_up = {tuple(row) for row in connection.execute(dead)}
        for definition, email, last in told:
            assert all((definition, email, version) in happened | given_up for version in range(1, last + 1))

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_whatever_happens_in_whatever_order(engine: Engine, database_url: str) -> None:
    world = World(engine)
    for name in PEOPLE:
        world.person(name, emails=(f"{name}@x.io",))
    traits = [trait(key, f"event('{key}').count()", destinations=TRAIT_BOTH) for key in KEYS]
    world.apply(*traits)
    world.compute()
    Delivery.engine, Delivery.url, Delivery.world = engine, database_url, world
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Delivery,
        settings=settings(
            max_examples=15, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
