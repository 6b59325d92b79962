"""The deliverer: one worker that serves all destinations of a workspace, each by a line of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, text

from engage_sync import errors, waiting
from engage_sync.database import channels
from engage_sync.database import engine as database
from engage_sync.database.listener import Listener
from engage_sync.definitions.model import Space
from engage_sync.delivery.feeding import POLL, Feeding, Limits
from engage_sync.delivery.line import Line
from engage_sync.delivery.membership import Membership
from engage_sync.delivery.report import Report
from engage_sync.delivery.transactions import PASSING, Transactions, why
from engage_sync.delivery.transport import Transport
from engage_sync.destinations.allowing import EVERYBODY, Allowed
from engage_sync.destinations.protocol import Destination
from engage_sync.messages import ids
from engage_sync.messages.render import Sender
from engage_sync.outbox import destinations_table, workers
from engage_sync.settings import Settings

log = structlog.get_logger(__name__)

Feed: TypeAlias = Callable[[Feeding, asyncio.Event], Awaitable[None]]

RECLAIM_EVERY = 3.0
# How long a stop waits for requests under way; what is left then waits out its time, with whoever takes over.
LONGEST_DRAIN = 12.0
_REJOIN_AFTER = 1.0
_PROGRESS_EVERY = 0.25
_MOST_THREADS = 8

_WAITING = text("SELECT count(*) FROM messages WHERE destination_id = ANY(CAST(:destinations AS smallint[]))")


class Deliverer:
    """Sends what waits in the outbox. `direct_url` is the way past a pooler; a `listener` is shared, else its own.

    `allowed` is by slug; `only` is the one profile that is delivered to.
    """

    def __init__(
        self,
        engine: Engine,
        destinations: Mapping[str, Destination],
        settings: Settings,
        *,
        direct_url: str | None = None,
        space: Space | None = None,
        listener: Listener | None = None,
        allowed: Mapping[str, Allowed] | None = None,
        only: int | None = None,
    ) -> None:
        self._engine = engine
        self._destinations = destinations
        self._settings = settings
        self._direct_url = direct_url
        self._space = space or Space()
        self._listener = listener
        self._allowed = allowed or {}
        self._limits = Limits(
            most_in_flight=settings.max_in_flight,
            request_timeout=settings.request_timeout,
            retry_for=settings.retry_for,
            only=only,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then settle what is under way and give the rest back.

        Where the connection that makes it a worker breaks, nothing more starts until it is one again.
        """
        while not stop.is_set():
            try:
                await self._session(Feeding.always, stop, Report())
            except (errors.DatabaseUnavailable, *PASSING) as failure:
                log.warning("delivery_interrupted", reason=why(failure))
            if not stop.is_set():
                await waiting.first(stop, seconds=_REJOIN_AFTER * (0.5 + random.random()))

    async def run_once(self) -> Report:
        """Claim what is due now, once for each destination, and deliver it."""
        report = Report()
        await self._session(Feeding.once, asyncio.Event(), report)
        return report

    async def run_until_empty(
        self, progress: Callable[[Report], None] | None = None, *, stop: asyncio.Event | None = None
    ) -> Report:
        """Deliver until each message is delivered or a dead letter. Retries are waited for, paused destinations aren't.

        `progress` is called a few times a second with the counts so far. `stop` ends it early.
        """
        report = Report()
        halt = stop or asyncio.Event()
        while True:
            was_lost = await self._session(Feeding.until_empty, halt, report, progress)
            if halt.is_set() or not was_lost:
                return report
            await asyncio.sleep(_REJOIN_AFTER)

    async def _session(
        self, feed: Feed, stop: asyncio.Event, report: Report, progress: Callable[[Report], None] | None = None
    ) -> bool:
        """Be a worker until `stop` or the end of `feed`; say whether it ended as the worker's connection was lost."""
        direct = self._direct_url or database.database_url(self._settings, direct=True)
        threads = min(_MOST_THREADS, self._settings.database_pool)
        transactions, transport = Transactions(self._engine, threads), Transport()
        membership = await Membership.join(direct)
        try:
            lines = await self._lines(membership.worker_id, transactions, transport, report)
            await self._work(lines, membership, transactions, feed, stop, report, progress)
            return membership.lost.is_set()
        finally:
            await transport.close()
            with contextlib.suppress(*PASSING):
                timeout, worker_id = self._limits.request_timeout, membership.worker_id
                await transactions.run(lambda connection: workers.unregister(connection, worker_id, timeout))
            membership.leave()
            transactions.close()

    async def _lines(
        self, worker_id: int, transactions: Transactions, transport: Transport, report: Report
    ) -> list[Line]:
        slugs = sorted(self._destinations)
        known = await transactions.run(lambda connection: destinations_table.ensure(connection, slugs))
        installation = await transactions.run(_installation)
        return [
            Line(
                self._destinations[slug],
                known[slug],
                worker_id,
                Sender(
                    installation=installation,
                    space_slug=self._space.slug,
                    space_id=ids.space_id(installation, self._space.slug),
                    destination_slug=slug,
                    integration=self._destinations[slug].integration,
                ),
                self._limits,
                transactions,
                transport,
                report,
                self._allowed.get(slug, EVERYBODY),
            )
            for slug in slugs
        ]

    async def _work(
        self,
        lines: list[Line],
        membership: Membership,
        transactions: Transactions,
        feed: Feed,
        stop: asyncio.Event,
        report: Report,
        progress: Callable[[Report], None] | None,
    ) -> None:
        halt = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(_halt(stop, membership.lost, halt), name="halting"),
                tasks.create_task(self._wake(lines, halt), name="waking"),
                tasks.create_task(self._reclaim(membership.worker_id, transactions, lines), name="reclaiming"),
            ]
            if progress is not None:
                helpers.append(tasks.create_task(self._tell(transactions, report, progress), name="progress"))
            await _run_lines(lines, feed, halt)
            for helper in helpers:
                helper.cancel()
        report.waiting = await self._count_waiting(transactions)
        if progress is not None:
            progress(report)

    async def _wake(self, lines: list[Line], halt: asyncio.Event) -> None:
        if self._listener is not None:
            await _pass_on(self._listener, lines, halt)
            return
        direct = self._direct_url or database.database_url(self._settings, direct=True)
        listener = Listener(direct, [channels.OUTBOX])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listener.run(halt), name="listening")
            tasks.create_task(_pass_on(listener, lines, halt), name="passing on")

    async def _reclaim(self, worker_id: int, transactions: Transactions, lines: list[Line]) -> None:
        """Take over from workers that died, every few seconds and not all workers at once."""
        timeout = self._limits.request_timeout
        while True:
            try:
                removed = await transactions.run(lambda connection: workers.reclaim(connection, timeout, worker_id))
            except PASSING as failure:
                log.warning("reclaim_failed", reason=why(failure))
            else:
                if removed:
                    log.info("took_over", workers=removed)
                    for line in lines:
                        line.wake()
            await asyncio.sleep(RECLAIM_EVERY * (0.75 + 0.5 * random.random()))

    async def _tell(self, transactions: Transactions, report: Report, progress: Callable[[Report], None]) -> None:
        while True:
            with contextlib.suppress(*PASSING):
                report.waiting = await self._count_waiting(transactions)
            progress(report)
            await asyncio.sleep(_PROGRESS_EVERY)

    async def _count_waiting(self, transactions: Transactions) -> int:
        slugs = sorted(self._destinations)

        def count(connection: Connection) -> int:
            known = list(destinations_table.ensure(connection, slugs).values())
            return int(connection.execute(_WAITING, {"destinations": known}).scalar_one())

        return await transactions.run(count)


async def _run_lines(lines: list[Line], feed: Feed, halt: asyncio.Event) -> None:
    """Until all lines have ended; after `halt` for a limited time."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(line.run(feed, halt), name="line") for line in lines]
        limit = tasks.create_task(_limit(running, halt), name="limit")
        await asyncio.wait(running)
        limit.cancel()


async def _limit(running: list[asyncio.Task[None]], halt: asyncio.Event) -> None:
    await halt.wait()
    await asyncio.sleep(LONGEST_DRAIN)
    log.warning("drain_cut_short", seconds=LONGEST_DRAIN)
    for task in running:
        task.cancel()


async def _halt(stop: asyncio.Event, lost: asyncio.Event, halt: asyncio.Event) -> None:
    await waiting.first(stop, lost)
    if lost.is_set():
        log.warning("worker_connection_lost")
    halt.set()


async def _pass_on(listener: Listener, lines: list[Line], halt: asyncio.Event) -> None:
    while not halt.is_set():
        await listener.wait(channels.OUTBOX, POLL, halt)
        for line in lines:
            line.wake()


def _installation(connection: Connection) -> UUID:
    token: UUID = connection.execute(text("SELECT token FROM installation")).scalar_one()
    return token
