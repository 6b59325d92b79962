"""Rehearsing a test of the workspace: its calls come in, its steps are computed, what must be told is heard.

The real thing from one end to the other, on an empty database that is thrown away: resolver, evaluation, differences
and outbox are those of production, only the instants are the test's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.database import engine as database
from engage_sync.database import scratch
from engage_sync.definitions import language, versions
from engage_sync.definitions.model import DefinitionSpec, Workspace
from engage_sync.definitions.scenarios import GivenCall, Scenario, Step
from engage_sync.ingest.calls import IncomingCall
from engage_sync.ingest.sources import ensure_sources
from engage_sync.messages import ids
from engage_sync.messages.message import Message
from engage_sync.messages.render import Sender, render
from engage_sync.outbox import claim, destinations_table, lanes, settle, workers
from engage_sync.sync import compute, ingest, verdicts
from engage_sync.sync.catalog import Context
from engage_sync.sync.verdicts import Failure, Heard

# Seconds for one statement: a test is small.
PATIENCE = 60.0
_LANES = 1_000
_INSTALLATION = text("SELECT token FROM installation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a test ended; no failures: well."""

    scenario: Scenario
    failures: tuple[Failure, ...]
    seconds: float


@contextmanager
def stage(workspace: Workspace) -> Iterator[Rehearsal]:
    """A database to throw away, on which one test after the other is run. Raises errors.DatabaseUnavailable."""
    with scratch.server() as url:
        engine = database.create_engine(url, pool_size=2, application="engage-sync test")
        try:
            with closing(database.connect_directly(url, application="engage-sync test")) as alive:
                worker = workers.register(alive, role="test")
                with engine.connect() as connection:
                    installation = connection.execute(_INSTALLATION).scalar_one()
                yield Rehearsal(engine=engine, workspace=workspace, worker=worker, installation=installation)
        finally:
            engine.dispose()


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Runs tests of a workspace, each on an empty database. `worker` is the one that hears what is told."""

    engine: Engine
    workspace: Workspace
    worker: int
    installation: UUID

    def run(self, scenario: Scenario) -> Outcome:
        """Run one test to its end: what fails in a step keeps no later one from being checked."""
        began = time.monotonic()
        specs = needed(self.workspace.definitions, scenario.keys)
        sources, destinations = self._set(scenario, specs)
        context = Context(destinations=destinations, patience=PATIENCE)
        failures: list[Failure] = []
        for step in scenario.steps:
            failures += self._ingest(step, sources)
            reports = compute.compute(self.engine, context, scenario.keys, as_of=step.at)
            heard = self._listen(destinations)
            broken = {report.key: report.error for report in reports if report.error}
            with self.engine.connect() as connection:
                failures += verdicts.judge(connection, step, specs, heard, broken)
        return Outcome(scenario=scenario, failures=tuple(failures), seconds=time.monotonic() - began)

    def _set(self, scenario: Scenario, specs: Sequence[DefinitionSpec]) -> tuple[dict[str, int], dict[str, int]]:
        """Nothing is known but the definitions, made at the instant of the first step; ids of sources, destinations."""
        slugs = {call.source for step in scenario.steps for call in step.calls}
        with self.engine.begin() as connection:
            scratch.empty(connection)
            sources = ensure_sources(connection, sorted({*slugs, *(each.slug for each in self.workspace.sources)}))
            destinations = destinations_table.ensure(connection, [each.slug for each in self.workspace.destinations])
            versions.apply(connection, specs, created_at=scenario.steps[0].at)
        return sources, destinations

    def _ingest(self, step: Step, sources: dict[str, int]) -> list[Failure]:
        calls = [_incoming(call, step, sources, number) for number, call in enumerate(step.calls, start=1)]
        refused = ingest.store_calls(self.engine, calls, self.workspace.limits) if calls else []
        return [
            Failure(at=step.at, kind="call", position=step.calls[place].position, message=f"not stored: {reason}")
            for place, reason in refused
        ]

    def _listen(self, destinations: dict[str, int]) -> list[Heard]:
        """Take everything out of the outbox, in the order of each person, as destinations that take it all do."""
        heard: list[Heard] = []
        for slug, destination in destinations.items():
            while self._take(slug, destination, heard):
                pass
        return heard

    def _take(self, slug: str, destination: int, heard: list[Heard]) -> bool:
        """Take what waits for a destination, as far as it comes at once; whether there was anything."""
        sender = Sender(
            installation=self.installation,
            space_slug=self.workspace.space.slug,
            space_id=ids.space_id(self.installation, self.workspace.space.slug),
            destination_slug=slug,
            integration=slug,
        )
        with self.engine.begin() as connection:
            leased = claim.claim(connection, destination, self.worker, _LANES)
            calls = [(message, render(message, sender)) for lane in leased for message in lane.messages]
            taken = [settle.Taken(message=message, skipped=call is None) for message, call in calls]
            settle.settle(connection, self.worker, taken)
            leaving = [lanes.Leaving(lane.profile_id) for lane in leased]
            if leaving:
                lanes.release(connection, destination, self.worker, leaving, timeout=0)
        heard += [_heard(message, call) for message, call in calls if call is not None]
        return bool(leased)


def needed(definitions: Sequence[DefinitionSpec], keys: Sequence[str]) -> list[DefinitionSpec]:
    """The definitions with these keys, and all that they refer to; in the given order."""
    by_key = {spec.key: spec for spec in definitions}
    wanted: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in by_key and key not in wanted:
            wanted.add(key)
            waiting.extend(language.references(by_key[key].tree))
    return [spec for spec in definitions if spec.key in wanted]


def _incoming(call: GivenCall, step: Step, sources: dict[str, int], row: int) -> IncomingCall:
    # Calls arrive at their step's instant; what they say of the time before stands, as in an import.
    return IncomingCall(source_id=sources[call.source], received_at=step.at, body=call.body, row=row)


def _heard(message: Message, call: dict[str, object]) -> Heard:
    if message.subject is None:
        raise errors.ComputationFailed("A message's definition is gone.")
    return Heard(
        key=message.subject.key,
        identity=(message.identity_type, message.identity_value),
        call_type=message.call_type,
        event=str(call["event"]) if "event" in call else None,
        value=message.value,
    )
