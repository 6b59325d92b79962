"""Any order of enqueuing, claiming, sending, losing, settling, dying, taking over and replaying, on a real database.

The destination is a list of what arrived. What holds after each step: a message's id never stands for another one; a
person's messages arrive in their order, and one that arrives again does so before anything newer. In the end nothing is
lost: each person's last word is what is true, and every event and forwarded call arrived or is a dead letter.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
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
from tests.factories import emptying
from tests.world import TRAIT_BOTH, World, trait

TIMEOUT = 10.0
PEOPLE = ("ann", "bob")
WORKERS = (0, 1)
people = st.sampled_from(PEOPLE)
who = st.sampled_from(WORKERS)
ANSWERS = ("taken", "taken", "refused", "failed", "given up", "refusing", "lost")
_KEPT = (
    *("sources", "destinations", "definitions", "definition_versions", "computations"),
    *("profiles", "identities"),
)
_TIME_PASSES = (
    text("UPDATE messages SET started_at = started_at - interval '11 s' WHERE started_at IS NOT NULL"),
    text("UPDATE lanes SET due_at = due_at - interval '11 s'"),
    text("UPDATE outages SET probe_at = probe_at - interval '61 s' WHERE until IS NULL"),
)


@dataclass
class Worker:
    """One that lives; its lanes with what it loaded, and those of which a message is on its way."""

    id: int
    connection: psycopg.Connection[Any]
    lanes: dict[int, deque[Message]] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    is_probe: bool = False


@dataclass(eq=False)
class Request:
    """On its way. `worker` None: nobody waits for its answer any more."""

    message: Message
    call: dict[str, Any]
    worker: Worker | None


@dataclass(frozen=True)
class Arrived:
    message: int
    id: str
    content: bytes
    key: tuple[str, str] | None
    version: int


class Delivery(RuleBasedStateMachine):
    engine: Engine
    url: str
    world: World

    @initialize()
    def empty(self) -> None:
        self.truth: dict[str, int] = {}
        self.arrived: dict[int, list[Arrived]] = {profile: [] for profile in self.world.people.values()}
        self.by_id: dict[str, bytes] = {}
        self.flying: list[Request] = []
        self.workers: dict[int, Worker] = {}
        self.forwarded: list[str] = []
        with self.engine.begin() as connection:
            emptying.empty(connection, but=_KEPT)
            (self.definition,) = versions.load(connection)
            installation = connection.execute(text("SELECT token FROM installation")).scalar_one()
        self.destination = self.world.context.destinations["iterable"]
        self.sender = Sender(
            installation=installation, space_slug="s", space_id="spa_x", destination_slug="iterable", integration=None
        )
        for number in WORKERS:
            self.join(number)

    # --- what is to be said -------------------------------------------------------------------------------------

    @rule(name=people, value=st.integers(1, 4))
    def change(self, name: str, value: int) -> None:
        """The snapshot changes, and the one rule enqueues what follows."""
        self.truth[name] = value
        with self.engine.begin() as connection:
            self.say(connection, name, value)

    def say(self, connection: Connection, name: str, value: int) -> None:
        profile = self.world.people[name]
        states.lock(connection, self.definition.id)
        connection.execute(
            text(
                "INSERT INTO snapshots (profile_id, definition_id, value, since)"
                " VALUES (:p, :d, to_jsonb(CAST(:v AS integer)), now())"
                " ON CONFLICT (profile_id, definition_id) DO UPDATE SET value = excluded.value"
            ),
            {"p": profile, "d": self.definition.id, "v": value},
        )
        channels = telling.channels(self.definition, self.world.context.destinations)
        job = telling.Job(definition=self.definition, channels=channels, profiles=[profile], moved=[], run=1)
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

    @rule(number=who)
    def take(self, number: int) -> None:
        """Claim, of a held destination by a probe, and start the first message of each lane."""
        worker = self.workers.get(number)
        if worker is None or worker.lanes:
            return
        with self.engine.begin() as connection:
            worker.is_probe = outages.take_probe(connection, self.destination) is not None
            most = 1 if worker.is_probe else 2
            found = claim.claim(connection, self.destination, worker.id, most, is_probe=worker.is_probe)
        worker.lanes = {lane.profile_id: deque(lane.messages) for lane in found}
        for profile in list(worker.lanes):
            self.go_on(worker, profile)

    def go_on(self, worker: Worker, profile: int) -> None:
        """Start the lane's next message and send it, or give the lane back."""
        waiting = worker.lanes[profile]
        if not waiting:
            self.leave(worker, profile)
            return
        message = waiting.popleft()
        call = render(message, self.sender)
        assert call is not None
        with self.engine.begin() as connection:
            wanted = [Wanted(message.id, message.profile_id, is_probe=worker.is_probe)]
            started = claim.start(connection, worker.id, wanted, TIMEOUT)
        if started:
            worker.busy.add(profile)
            self.flying.append(Request(message, call, worker))
        else:
            self.leave(worker, profile)

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
        message = request.message
        ends: dict[str, Settlement] = {
            "taken": Taken(message=message),
            "refused": Failed(message=message, reason="400"),
            "failed": Postponed(message=message, reason="500", unanswered=False),
            "lost": Postponed(message=message, reason="no answer", unanswered=True),
            "given up": Failed(message=message, reason="no answer", is_unknown=True),
            "refusing": Unsent(message=message),
        }
        with self.engine.begin() as connection:
            settled = settle.settle(connection, worker.id, [ends[answer]])
            if worker.is_probe and answer == "taken":
                outages.end(connection, self.destination)
        assert not settled.busy
        worker.busy.discard(message.profile_id)
        if answer in ("taken", "refused", "given up"):
            self.go_on(worker, message.profile_id)
        else:
            self.leave(worker, message.profile_id)

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
        message, call = request.message, request.call
        key = None if message.definition_id is None else (message.identity_value, message.call_type)
        content = orjson.dumps({name: value for name, value in call.items() if name != "timestamp"})
        new = Arrived(message.id, call["messageId"], content, key, message.told_version or 0)
        before = self.arrived[message.profile_id]
        assert self.by_id.setdefault(new.id, content) == content, "one id, one message"
        if before:
            assert new.message >= before[-1].message, "behind something newer of this person"
            if new.message == before[-1].message:
                assert new == before[-1]
        assert all(new.version >= other.version for other in before if other.key == key), "an older value of one thing"
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
            self.take(0)
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
        for name, value in self.truth.items():
            said = [each for each in self.arrived[self.world.people[name]] if each.key == (f"{name}@x.io", "identify")]
            assert orjson.loads(said[-1].content)["traits"]["spent"] == value
        forwarded = [each for each in everything if each.key is None]
        assert len({each.id for each in forwarded}) == len(self.forwarded)
        # An event that didn't arrive was refused, and isn't true any more.
        happened = {(each.key[0], each.version) for each in everything if each.key and each.key[1] == "track"}
        with self.engine.connect() as connection:
            told = connection.execute(text("SELECT identity_value, version FROM told WHERE call_type = 'track'")).all()
            dead = text("SELECT identity_value, told_version FROM dead_letters WHERE call_type = 'track'")
            given_up = {(row[0], row[1]) for row in connection.execute(dead)}
        for email, last in told:
            assert all((email, version) in happened | given_up for version in range(1, last + 1))

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_whatever_happens_in_whatever_order(engine: Engine, database_url: str) -> None:
    world = World(engine)
    for name in PEOPLE:
        world.person(name, emails=(f"{name}@x.io",))
    world.apply(trait("spent", "event('Order Completed').count()", destinations=TRAIT_BOTH))
    world.compute()
    Delivery.engine, Delivery.url, Delivery.world = engine, database_url, world
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Delivery,
        settings=settings(
            max_examples=15, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
