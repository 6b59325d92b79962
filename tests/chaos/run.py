"""One run: people act, trouble is made, everything calms down, and the two histories are compared."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.chaos import check, people, reading
from tests.chaos.check import Difference, Entry, Line, Word
from tests.chaos.ground import DESTINATIONS, LOOKBACK, ROLES, Ground, ground
from tests.chaos.people import Person
from tests.chaos.traffic import Traffic
from tests.chaos.trouble import Trouble


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`calls` a person (None: until `seconds` are over); `acts` at least that many troubles. Times are in seconds.

    Nothing is judged by the clock but `patience`: for how long the end may take to come.
    """

    seed: int
    people: int
    calls: int | None
    acts: int
    seconds: float = 0.0
    pause_of_people: float
    pause_of_trouble: tuple[float, float]
    request_timeout: float
    longest_delay: float
    patience: float = 600.0
    roles: Sequence[str] = ROLES


@dataclass(kw_only=True)
class Outcome:
    """What was done and found; `sentences` say what is wrong, nothing where all is well."""

    seed: int
    sentences: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    logs: Path | None = None

    def report(self) -> str:
        troubles = ", ".join(f"{name} {count}" for name, count in sorted(self.troubles.items()))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        lines = [f"seed {self.seed}: {counts}", f"  troubles: {troubles}", f"  requests that met a fault: {faults}"]
        if self.sentences:
            lines += ["WRONG:", *self.sentences[:50], "what was done:", *self.log, f"the roles' logs: {self.logs}"]
        return "\n".join(lines)


def run(plan: Plan, watch: Callable[[str], None] | None = None) -> Outcome:
    """Do it all; what is wrong is in the outcome. `watch` is told of each trouble as it is made."""
    outcome = Outcome(seed=plan.seed)
    with contextlib.suppress(_Wrong), ground(request_timeout=plan.request_timeout, lookback=plan.calls is None) as made:
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
        self._people = people.population(plan.seed, plan.people)
        self._began = time.monotonic()

    async def run(self, watch: Callable[[str], None] | None) -> None:
        plan = self._plan
        traffic = Traffic(self._ground.api, self._people, plan.pause_of_people, self._wants_more)
        trouble = Trouble(
            self._ground,
            self._people,
            plan.seed,
            roles=plan.roles,
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
            self._outcome.counts |= {"accepted": traffic.sent.accepted, "sent again": traffic.sent.repeats}
        await self._judge()

    def _wants_more(self, made: int) -> bool:
        if self._plan.calls is not None:
            return made < self._plan.calls
        return time.monotonic() - self._began < self._plan.seconds

    async def _judge(self) -> None:
        await self._until(self._what_waits)
        with self._connect() as connection:
            self._count(connection)
            ledger = reading.ledger(connection, self._people, DESTINATIONS)
        records = self._records()
        dead = [entry.word for entry in ledger if entry.is_dead]
        refused = {word for record in records for word in record.refused}
        done = [word for record in records for word in record.done]
        self._complain(check.histories(done, ledger), done, ledger)
        self._complain(check.dead_letters(dead, refused), done, ledger)
        self._outcome.counts |= {"dead letters": len(dead)}
        for role in self._ground.roles.values():
            if role.died:
                self._outcome.log.append(f"{role.name} ended by itself with {role.died}")
        self._outcome.counts["ended by themselves"] = sum(len(role.died) for role in self._ground.roles.values())
        if self._outcome.sentences:
            return
        if dead:
            self._ground.run("dead-letters", "replay", "--all")
            await self._until(self._what_waits)
        self._compare_states([word for record in self._records() for word in record.done], ledger)
        self._compute()

    def _compare_states(self, done: Sequence[Word], ledger: Sequence[Entry]) -> None:
        held = reading.held(done)
        with self._connect() as connection:
            confirmed = reading.confirmed(connection)
            gone = reading.succeeded(connection)
            known = {line for line in {*held, *confirmed} if line.identity not in gone}
            wanted = reading.wanted(connection, DESTINATIONS, known)
        # What a user id was told before there was an email is the email's user's now, and told to that anew.
        held, confirmed = ({line: said[line] for line in said if line in known} for said in (held, confirmed))
        self._complain(check.states(held, confirmed, wanted), done, ledger)

    def _compute(self) -> None:
        """Everybody is looked at once more: nothing may come of it."""
        # Time alone goes on changing this one, though not any more by now.
        for row in self._ground.read("compute", "--full"):
            changes = {name: row[name] for name in ("entered", "left", "changed", "messages") if row.get(name)}
            if changes or row.get("error"):
                self._outcome.sentences.append(f"a full computation found something: {row}")

    async def _until(self, waits: Callable[[], list[str]]) -> None:
        """Until nothing waits, twice in a row."""
        until, calm = time.monotonic() + self._plan.patience, 0
        while calm < 2:
            try:
                waiting = await asyncio.to_thread(waits)
            except psycopg.OperationalError as failed:
                waiting = [f"Postgres: {failed}"]
            calm = 0 if waiting else calm + 1
            if waiting and time.monotonic() > until:
                raise AssertionError(f"after {self._plan.patience:.0f} seconds: {'; '.join(waiting[:20])}")
            for role in self._ground.roles.values():
                role.start()
            await asyncio.sleep(0.5)

    def _what_waits(self) -> list[str]:
        with self._connect() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM messages), (SELECT count(*) FROM lanes),"
                " (SELECT count(*) FROM told WHERE enqueued IS NOT NULL),"
                " (SELECT count(*) FROM snapshots JOIN definitions ON definitions.id = definition_id"
                "  WHERE key = ANY(%s) AND snapshots.value = 'true')",
                ([Path(name).stem for name in LOOKBACK],),
            ).fetchone()
            assert row is not None
            names = ("calls in the inbox", "messages", "lanes", "told that wait", "still active")
            waiting = [f"{count} {name}" for name, count in zip(names, row, strict=True) if count]
            return waiting or reading.untrue(connection, self._people, self._true_keys())

    def _true_keys(self) -> list[str]:
        return [key for key in self._ground.keys if f"audiences/{key}.yml" not in LOOKBACK]

    def _count(self, connection: psycopg.Connection[Any]) -> None:
        for name, statement in (
            ("changes", "SELECT count(*) FROM changes"),
            ("merges", "SELECT count(*) FROM merges"),
            ("delivered", "SELECT count(*) FROM delivered"),
            ("in bulk", "SELECT count(*) FROM delivered WHERE in_bulk"),
            ("tried again", "SELECT count(*) FROM delivered WHERE attempts > 1"),
            ("outages", "SELECT count(*) FROM outages"),
            ("rejects", "SELECT count(*) FROM rejects"),
        ):
            row = connection.execute(statement).fetchone()  # type: ignore[call-overload]
            self._outcome.counts[name] = row[0]
        if self._outcome.counts["rejects"]:
            self._outcome.sentences.append("the resolver rejected calls that are sound")

    def _records(self) -> list[reading.Record]:
        found = [reading.record(slug, url) for slug, url in self._ground.sandboxes.items()]
        self._outcome.counts["requests"] = sum(record.requests for record in found)
        self._outcome.faults = sum((Counter(record.faults) for record in found), Counter())
        return found

    def _complain(self, differences: Sequence[Difference], done: Sequence[Word], ledger: Sequence[Entry]) -> None:
        for difference in differences:
            self._outcome.sentences.append(str(difference))
        for line in list(dict.fromkeys(difference.line for difference in differences))[:5]:
            self._outcome.sentences += _both(line, done, ledger, self._people)

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._ground.postgres.url, autocommit=True)


def _both(line: Line, done: Sequence[Word], ledger: Sequence[Entry], known: Sequence[Person]) -> list[str]:
    """The two histories of one identity at one destination, and the calls of its person."""
    about = (line.destination, line.identity)
    there = [word for word in done if word.line[:2] == about]
    ours = [entry for entry in ledger if entry.word.line[:2] == about]
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
