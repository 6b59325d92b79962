"""When things are computed: one leader among any number of processes.

Each job is a line that calls a use case: resolving the inbox, real time, first computations, ticks, upkeep. What takes
long (everybody's computation, a slow definition) runs beside them on threads of its own and delays nobody. The leader
holds a session's advisory lock; when its process or its connection dies, the lock is free, and another takes over
within seconds. A wake-up by NOTIFY may be lost, so every loop also polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import structlog
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from engage_sync import errors, waiting
from engage_sync.database import channels, locks, migrate
from engage_sync.database import engine as database
from engage_sync.database.listener import Listener
from engage_sync.definitions.language import references
from engage_sync.definitions.versions import StoredDefinition, is_realtime, lookback_keys
from engage_sync.snapshots import states
from engage_sync.snapshots.runs import Cause
from engage_sync.snapshots.states import State
from engage_sync.sync import compute as computation
from engage_sync.sync import erasing, retention, sweeping
from engage_sync.sync.batches import RunReport, compute_one
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.ingest import resolve_inbox
from engage_sync.sync.orders import Order
from engage_sync.sync.rounds import Round

log = structlog.get_logger(__name__)
T = TypeVar("T")

# How often the timer asks what is due: a tick starts at most this late.
_ASK_EVERY = 5.0
# How often the edges of real-time definitions are swept, and the longest that a lost notification delays anything.
_POLL = 1.0
_FORGET_EVERY, _UPKEEP_EVERY = 60.0, 3600.0
_LEADER_RETRY = 2.0
# How long a definition that failed waits before it is tried again.
_FIRST_WAIT, _LONGEST_WAIT = 60.0, 3600.0
# And one that failed as the database's disk was full, each time: room is made at any moment.
_WAIT_FOR_ROOM = 10.0
# How long the resolver waits for a turn of real time to end before it goes on beside it, and the reverse.
_LONGEST_TURN = 0.03
# Definitions that are computed alone at the same time, each with a connection of its own.
_ALONE = 2
# An approved definition that is still held so long after is computed here: whoever approved it didn't end.
_APPROVER_IS_DEAD = timedelta(minutes=1)
# How long a stop lets running computations finish before it cancels their statements.
_PATIENCE_AT_STOP = 3.0
_CHANGED = text("SELECT count(*), max(updated_at), max(version) FROM definitions")


class Scheduler:
    """The scheduler's role of a process. `run` stands by until it leads."""

    def __init__(
        self,
        engine: Engine,
        direct_url: str,
        context: Context,
        *,
        lookback: str,
        limits: Mapping[str, int],
        listener: Listener,
        keep: timedelta = timedelta(days=14),
    ) -> None:
        self._engine = engine
        self._direct_url = direct_url
        self._context = context
        self._lookback = lookback
        self._limits = limits
        self._listener = listener
        self._keep = keep
        self._catalog: Catalog | None = None
        self._catalog_mark: tuple[Any, ...] | None = None
        self._at_once: list[StoredDefinition] = []
        self._swept_at = float("-inf")
        self._threads = ThreadPoolExecutor(_ALONE, thread_name_prefix="computing alone")
        self._alone: dict[int, Future[RunReport | None]] = {}
        self._turn_taking = asyncio.Lock()
        # When definitions that failed, by id and version, are tried again (monotonic), and how long they wait for it.
        self._tries: dict[tuple[int, int], tuple[float, float]] = {}
        self.is_leader = False

    async def run(self, stop: asyncio.Event) -> None:
        """Lead whenever the lock can be had, until `stop`."""
        while not stop.is_set():
            leadership = await asyncio.to_thread(self._try_to_lead)
            if leadership is None:
                await waiting.first(stop, seconds=_LEADER_RETRY)
                continue
            self.is_leader = True
            log.info("scheduler_leads")
            try:
                await self._lead(leadership, stop)
            finally:
                self.is_leader = False
                await asyncio.to_thread(leadership.close)
        await self._end_alone()

    def run_due(self) -> list[RunReport]:
        """Compute what is due now: definitions that need everybody (new ones), and those whose tick has come.

        Returns what rounds did. What must be computed alone goes on by itself (`until_alone_are_done`); what refers to
        it stays due until then.
        """
        with self._engine.begin() as connection:
            catalog = self._load(connection)
            known = states.load(connection, [definition.id for definition in catalog.definitions])
            now = states.instant(connection, None)
        new = computation.needing_everybody(catalog.definitions, known)
        together: list[StoredDefinition] = []
        later = self._keys_under_way(catalog)
        for definition in catalog.definitions:
            state = known[definition.id]
            if not self._is_due(definition, state, now, is_new=definition.id in new):
                continue
            if not self._may_be_tried(definition):
                # What refers to it goes on with what it was.
                continue
            if definition.key in later or references(definition.spec.tree) & later:
                later.add(definition.key)
            elif computation.goes_alone(definition, known.get(definition.id)):
                self._start_alone(catalog, definition, Cause.TICK)
                later.add(definition.key)
            else:
                together.append(definition)
        reports: list[RunReport] = []
        order = Order(cause=Cause.TICK)
        for done in computation.in_rounds(self._engine, self._context, catalog, together, order):
            reports.extend(done.reports)
            for definition in done.large:
                self._start_alone(catalog, definition, Cause.TICK)
        return reports

    def turn(self, *, sweeps: bool) -> Round:
        """One turn of real time; with `sweeps` it also looks whether definitions have changed."""
        catalog = self._catalog
        if sweeps or catalog is None:
            with self._engine.begin() as connection:
                catalog = self._load(connection)
        done = computation.turn(self._engine, self._context, catalog, self._at_once, sweeps=sweeps)
        if done.touched:
            self._context.pace.urgent()
        for definition in done.large:
            self._start_alone(catalog, definition, Cause.REALTIME)
        return done

    def until_alone_are_done(self) -> list[RunReport]:
        """Wait for the computations that go on by themselves; what they did."""
        found = [future.result() for future in list(self._alone.values())]
        return [report for report in found if report is not None]

    def resolve(self) -> int:
        """Resolve one batch of the inbox; returns how many calls it took."""
        context = self._context
        taken = resolve_inbox(self._engine, self._limits, routes=context.routes, privacy_key=context.privacy_key).taken
        if taken:
            context.pace.urgent()
        return taken

    # --- what takes long ----------------------------------------------------------------------------------------

    def _keys_under_way(self, catalog: Catalog) -> set[str]:
        running = {definition for definition, future in self._alone.items() if not future.done()}
        return {definition.key for definition in catalog.definitions if definition.id in running}

    def _start_alone(self, catalog: Catalog, definition: StoredDefinition, cause: Cause) -> None:
        before = self._alone.get(definition.id)
        is_free = (before is None or before.done()) and self._may_be_tried(definition)
        if is_free and not self._context.stopping.is_set():
            self._alone[definition.id] = self._threads.submit(self._compute_alone, catalog, definition, cause)

    def _compute_alone(self, catalog: Catalog, definition: StoredDefinition, cause: Cause) -> RunReport | None:
        try:
            report = compute_one(self._engine, self._context, catalog, definition, cause=cause)
            self._learn(definition, report)
            return report
        except (DBAPIError, errors.EngageSyncError) as failure:
            # It stays due; what ends here is the database's trouble.
            log.error("job_failed", job=f"computing {definition.key}", reason=_reason(failure))
            return None

    def _learn(self, definition: StoredDefinition, report: RunReport) -> None:
        """One that failed is tried again after a minute, and each time in a row after twice as long."""
        known = (definition.id, definition.version)
        if report.error is None:
            self._tries.pop(known, None)
            return
        if report.is_full:
            self._tries[known] = (time.monotonic() + _WAIT_FOR_ROOM, 0.0)
            return
        _, waited = self._tries.get(known, (0.0, 0.0))
        waits = min(2 * waited, _LONGEST_WAIT) or _FIRST_WAIT
        self._tries[known] = (time.monotonic() + waits, waits)

    def _may_be_tried(self, definition: StoredDefinition) -> bool:
        """Whether it didn't fail just now; a new version may at once."""
        due, _ = self._tries.get((definition.id, definition.version), (0.0, 0.0))
        return time.monotonic() >= due

    async def _end_alone(self) -> None:
        """Let what runs alone finish for a moment; then cut it short. It is repeated by whoever leads next."""
        self._context.stopping.set()
        running = [asyncio.wrap_future(future) for future in self._alone.values() if not future.done()]
        self._threads.shutdown(wait=False, cancel_futures=True)
        if not running:
            return
        _, pending = await asyncio.wait(running, timeout=_PATIENCE_AT_STOP)
        if pending:
            log.info("computations_cut_short", number=len(pending))
            await asyncio.to_thread(database.cancel_statements, self._engine)
            await asyncio.wait(pending, timeout=_PATIENCE_AT_STOP)

    # --- leading ------------------------------------------------------------------------------------------------

    def _try_to_lead(self) -> psycopg.Connection[Any] | None:
        try:
            connection = database.connect_directly(self._direct_url, application="engage-sync scheduler")
        except errors.DatabaseUnavailable as failure:
            log.warning("scheduler_waits_for_database", reason=str(failure))
            return None
        row = connection.execute("SELECT pg_try_advisory_lock(%s, 0)", (int(locks.LockClass.SCHEDULER),)).fetchone()
        if row is not None and row[0]:
            return connection
        connection.close()
        return None

    async def _lead(self, leadership: psycopg.Connection[Any], stop: asyncio.Event) -> None:
        """Run all jobs until `stop`, or until the lock's connection is lost."""
        lost = asyncio.Event()
        ending = asyncio.create_task(waiting.first(stop, lost))
        done = asyncio.Event()
        ending.add_done_callback(lambda _: done.set())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._every(_ASK_EVERY, self.run_due, done), name="what is due")
                tasks.create_task(self._every(_FORGET_EVERY, self._forget, done, at_once=False), name="forgetting")
                tasks.create_task(self._every(_UPKEEP_EVERY, self._upkeep, done, at_once=False), name="upkeep")
                tasks.create_task(self._watch(leadership, lost, done), name="leadership")
                tasks.create_task(self._loop(channels.INBOX, self._resolve_all, done), name="resolver")
                tasks.create_task(self._loop(channels.TOUCHES, self._real_time, done), name="realtime")
        finally:
            ending.cancel()

    async def _loop(self, channel: str, once: Callable[[], Awaitable[None]], done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                await once()
            except (DBAPIError, errors.DatabaseUnavailable) as failure:
                log.warning("database_unavailable", job=channel, reason=_reason(failure))
                await waiting.first(done, seconds=_POLL)
            await self._listener.wait(channel, _POLL, done)

    async def _resolve_all(self) -> None:
        while await self._in_turn(self.resolve):
            pass

    async def _real_time(self) -> None:
        loop = asyncio.get_running_loop()
        sweeps = loop.time() - self._swept_at >= _POLL
        if sweeps:
            self._swept_at = loop.time()
        turn = await self._in_turn(lambda: self.turn(sweeps=sweeps))
        if turn.rest:
            self._listener.wake(channels.TOUCHES)

    async def _in_turn(self, job: Callable[[], T]) -> T:
        """Run what is mostly quick when the other isn't running; side by side, each would take twice as long.

        What turns out to be slow holds the other up no longer than a moment.
        """
        # Without a timer and a task where there is nothing to wait for.
        has_turn = not self._turn_taking.locked() and await self._turn_taking.acquire()
        if not has_turn:
            with contextlib.suppress(TimeoutError):
                has_turn = await asyncio.wait_for(self._turn_taking.acquire(), _LONGEST_TURN)
        try:
            return await asyncio.to_thread(job)
        finally:
            if has_turn:
                self._turn_taking.release()

    async def _watch(self, leadership: psycopg.Connection[Any], lost: asyncio.Event, done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                await asyncio.to_thread(leadership.execute, "SELECT 1")
            except psycopg.Error:
                log.warning("scheduler_lost_its_lock")
                lost.set()
                return
            await waiting.first(done, seconds=_POLL)

    async def _every(
        self, seconds: float, job: Callable[[], Any], done: asyncio.Event, *, at_once: bool = True
    ) -> None:
        """Run a job again and again, by the monotonic clock: the host's own may jump by hours.

        What is under way at the end is left to end by itself.
        """
        if not at_once:
            await waiting.first(done, seconds=seconds)
        while not done.is_set():
            running = asyncio.create_task(self._guarded(job))
            ending = asyncio.create_task(done.wait())
            await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if running.done():
                running.result()
            await waiting.first(done, seconds=seconds)

    async def _guarded(self, job: Callable[[], Any]) -> None:
        try:
            await asyncio.to_thread(job)
        except (DBAPIError, errors.EngageSyncError) as failure:
            log.error("job_failed", job=job.__name__, reason=_reason(failure))

    def _upkeep(self) -> None:
        with self._engine.begin() as connection:
            migrate.ensure_partitions(connection)
        retention.clean(self._engine, self._keep)
        # What an apply began and couldn't end.
        sweeping.sweep(self._engine, self._context)

    def _forget(self) -> None:
        # What a `forget` began and couldn't end.
        erasing.resume(self._engine)

    # --- what is due --------------------------------------------------------------------------------------------

    def _load(self, connection: Connection) -> Catalog:
        """The catalog, read again only when a definition has changed."""
        mark = tuple(connection.execute(_CHANGED).one())
        if self._catalog is None or mark != self._catalog_mark:
            catalog = Catalog.load(connection)
            keys = lookback_keys([definition.spec for definition in catalog.definitions])
            self._at_once = [definition for definition in catalog.definitions if is_realtime(definition.spec, keys)]
            self._catalog, self._catalog_mark = catalog, mark
        return self._catalog

    def _is_due(self, definition: StoredDefinition, state: State, now: datetime, *, is_new: bool) -> bool:
        cadence = definition.spec.compute_cadence
        cron = self._lookback if cadence in (None, "hourly", "realtime") else cadence
        assert cron is not None
        hold = state.hold
        if hold is not None and hold.version == definition.version:
            # Held in real time, too, it is counted anew by ticks. Whoever approved it is writing it, unless that died.
            is_left = hold.approved_at is not None and now - hold.approved_at > _APPROVER_IS_DEAD
            return is_left or is_due(cron, hold.looked_at, now)
        if hold is not None or is_new:
            return True
        return definition not in self._at_once and is_due(cron, state.swept_to, now)


def _reason(failure: Exception) -> str:
    is_trouble = isinstance(failure, (OperationalError, InterfaceError))
    return str(database.unavailable(failure) if is_trouble else failure).splitlines()[0]


def is_due(cron: str, swept_to: datetime | None, now: datetime) -> bool:
    """Whether an instant of the cron expression (UTC) lies in (swept_to, now]: a missed hour is one larger tick."""
    if swept_to is None:
        return True
    following = CronTrigger.from_crontab(cron, timezone="UTC").get_next_fire_time(swept_to, swept_to)
    return following is not None and swept_to < following <= now
