"""One run: people act, trouble is made, everything calms down, and the two histories are compared."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from tests.chaos import check, forgetting, ledger, people, record
from tests.chaos.check import Difference, Entry, Line, Word
from tests.chaos.ground import ROLES, Ground, ground
from tests.chaos.people import Person
from tests.chaos.postgres import Database
from tests.chaos.record import Record
from tests.chaos.traffic import Traffic
from tests.chaos.trouble import Trouble
from tests.chaos.waiting import Waiting
from tests.chaos.worlds import World


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`calls` a person (None: until `seconds` are over); `acts` at least that many troubles. Times are in seconds.

    `forgotten`: at most so many people. Where a destination is spoken to in bulk, that takes minutes.

    Nothing is judged by the clock but `patience`: for how long the end may take to come.
    """

    seed: int
    world: World
    people: int
    calls: int | None
    acts: int
    kills_a_minute: float
    forgotten: int
    seconds: float = 0.0
    pause_of_people: float
    pause_of_trouble: tuple[float, float]
    request_timeout: float
    longest_delay: float
    patience: float = 900.0
    roles: Sequence[str] = ROLES


@dataclass(kw_only=True)
class Outcome:
    """What was done and found; `sentences` say what is wrong, nothing where all is well."""

    seed: int
    sentences: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    logs: Path | None = None

    def report(self) -> str:
        troubles = ", ".join(f"{name} {count}" for name, count in sorted(self.troubles.items()))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        lines = [
            f"seed {self.seed}: {counts}",
            f"  troubles: {troubles}",
            f"  kills: {self.kills.total()}: {kills}",
            f"  requests that met a fault: {faults}",
        ]
        if self.sentences:
            lines += ["WRONG:", *self.sentences[:50], "what was done:", *self.log, f"the roles' logs: {self.logs}"]
        return "\n".join(lines)


def run(plan: Plan, watch: Callable[[str], None] | None = None) -> Outcome:
    """Do it all; what is wrong is in the outcome. `watch` is told of each trouble as it is made."""
    outcome = Outcome(seed=plan.seed)
    place = ground(plan.world, request_timeout=plan.request_timeout, lookback=plan.calls is None)
    with contextlib.suppress(_Wrong), place as made:
        outcome.logs = made.logs
        try:
            asyncio.run(_Run(plan, made, outcome).run(watch))
        except BaseExceptionGroup as failed:
            outcome.sentences.append(f"the run itself failed: {failed.exceptions!r}")
        except (AssertionError, httpx.HTTPError, psycopg.Error) as failed:
            outcome.sentences.append(f"the run itself failed: {failed!r}")
        if outcome.sentences:
            raise _Wrong
    return outcome


class _Wrong(Exception):
    """Keeps the folder with the logs."""


class _Run:
    def __init__(self, plan: Plan, ground: Ground, outcome: Outcome) -> None:
        self._plan, self._ground, self._outcome = plan, ground, outcome
        self._people = people.population(plan.seed, plan.people, plan.world.most_emails)
        self._waiting = Waiting(ground, self._people, plan.patience)
        self._began = time.monotonic()

    async def run(self, watch: Callable[[str], None] | None) -> None:
        plan = self._plan
        traffic = Traffic(self._ground.api, self._people, plan.pause_of_people, self._wants_more)
        trouble = Trouble(
            self._ground,
            self._people,
            plan.seed,
            roles=plan.roles,
            kills_a_minute=plan.kills_a_minute,
            most_forgotten=plan.forgotten,
            longest_delay=plan.longest_delay,
            pause=plan.pause_of_trouble,
            watch=watch,
        )
        acting = asyncio.create_task(traffic.run())
        try:
            await trouble.run(lambda: not acting.done() or sum(trouble.done.values()) < plan.acts)
            await acting
        finally:
            acting.cancel()
            self._outcome.troubles, self._outcome.log = trouble.done, trouble.log
            self._outcome.kills = trouble.kills.by_role
            self._outcome.counts |= {"accepted": traffic.sent.accepted, "sent again": traffic.sent.repeats}
            self._outcome.counts |= {"killed at work": trouble.kills.at_work}
        await self._judge()

    def _wants_more(self, made: int) -> bool:
        if self._plan.calls is not None:
            return made < self._plan.calls
        return time.monotonic() - self._began < self._plan.seconds

    async def _judge(self) -> None:
        await self._waiting.until_nothing_waits()
        gone = {identity for person in self._people if person.is_forgotten for identity in person.identities()}
        with self._connect() as connection:
            self._count(connection)
            entries = ledger.ledger(connection, self._people, self._plan.world)
        records = self._records()
        refused = set[Word]().union(*(each.refused for each in records.values()))
        vain = set[Word]().union(*(each.vain for each in records.values()))
        done = [word for each in records.values() for word in each.done if word.line.identity not in gone]
        arrived = set(done)
        entries = [
            entry
            for entry in entries
            if entry.word.line.identity not in gone and (entry.word not in vain or entry.word in arrived)
        ]
        dead = [entry.word for entry in entries if entry.is_dead]
        self._complain(check.histories(done, entries), done, entries)
        self._complain(check.dead_letters(dead, refused), done, entries)
        self._outcome.counts |= {"dead letters": len(dead)}
        for role in self._ground.roles.values():
            if role.died:
                self._outcome.log.append(f"{role.name} ended by itself with {role.died}")
        self._outcome.counts["ended by themselves"] = sum(len(role.died) for role in self._ground.roles.values())
        if self._outcome.sentences:
            return
        # Also what asks to forget somebody may have been refused.
        self._ground.run("dead-letters", "replay", "--all")
        await self._waiting.until_nothing_waits(also=forgetting.remains)
        records = self._records()
        self._compare_states([word for each in records.values() for word in each.done], entries, gone)
        self._outcome.sentences += forgetting.complaints(self._people, records, self._ground)
        self._compute()

    def _compare_states(self, done: Sequence[Word], entries: Sequence[Entry], forgotten: set[str]) -> None:
        held = record.held(done)
        with self._connect() as connection:
            confirmed = ledger.confirmed(connection)
            gone = ledger.succeeded(connection) | forgotten
            known = {line for line in {*held, *confirmed} if line.identity not in gone}
            wanted = ledger.wanted(connection, self._plan.world.destinations, known)
        # What a user id was told before there was an email is the email's user's now, and told to that anew.
        held, confirmed = ({line: said[line] for line in said if line in known} for said in (held, confirmed))
        self._complain(check.states(held, confirmed, wanted), done, entries)

    def _compute(self) -> None:
        """Everybody is looked at once more: nothing may come of it."""
        # Time alone goes on changing this one, though not any more by now.
        for row in self._ground.read("compute", "--full"):
            changes = {name: row[name] for name in ("entered", "left", "changed", "messages") if row.get(name)}
            if changes or row.get("error"):
                self._outcome.sentences.append(f"a full computation found something: {row}")

    def _count(self, connection: Database) -> None:
        for name, statement in (
            ("changes", "SELECT count(*) FROM changes"),
            ("merges", "SELECT count(*) FROM merges"),
            ("delivered", "SELECT count(*) FROM delivered"),
            ("in bulk", "SELECT count(*) FROM delivered WHERE in_bulk"),
            ("tried again", "SELECT count(*) FROM delivered WHERE attempts > 1"),
            ("emails changed", "SELECT count(*) FROM delivered WHERE call_type = 'email_change'"),
            ("outages", "SELECT count(*) FROM outages"),
            ("rejects", "SELECT count(*) FROM rejects"),
        ):
            (number,) = connection.execute(statement).fetchall()[0]
            self._outcome.counts[name] = number
        if self._outcome.counts["rejects"]:
            self._outcome.sentences.append("the resolver rejected calls that are sound")

    def _records(self) -> dict[str, Record]:
        found = {slug: record.record(slug, url) for slug, url in self._ground.witnesses.items()}
        self._outcome.counts["requests"] = sum(len(each.requests) for each in found.values())
        self._outcome.faults = sum((each.faults for each in found.values()), Counter())
        return found

    def _complain(self, differences: Sequence[Difference], done: Sequence[Word], entries: Sequence[Entry]) -> None:
        for difference in differences:
            self._outcome.sentences.append(str(difference))
        for line in list(dict.fromkeys(difference.line for difference in differences))[:5]:
            self._outcome.sentences += _both(line, done, entries, self._people)

    def _connect(self) -> Database:
        return self._ground.postgres.connect()


def _both(line: Line, done: Sequence[Word], entries: Sequence[Entry], known: Sequence[Person]) -> list[str]:
    """The two histories of one identity at one destination, and the calls of its person."""
    about = (line.destination, line.identity)
    there = [word for word in done if word.line[:2] == about]
    ours = [entry for entry in entries if entry.word.line[:2] == about]
    number = line.identity.removeprefix("p").removeprefix("u").partition("-")[0]
    calls = [call for person in known if str(person.number) == number for call in person.accepted]
    return [
        f"{line.identity} at {line.destination}:",
        *(f"    arrived {word.at:.3f}  {word.line.subject}: {word.says} {word.id or ''}" for word in there),
        *(
            f"    ledger  {entry.word.at:.3f}  {entry.word.line.subject}: {entry.word.says} {entry.word.id or ''}"
            f"{' (dead letter)' if entry.is_dead else ''}"
            for entry in ours
        ),
        *(f"    call    {call.source} {call.body}" for call in calls),
    ]
