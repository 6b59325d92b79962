"""Who listens is woken, once for whatever came; and again after the connection was lost."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import Engine, text

from engage_sync.database import channels
from engage_sync.database.listener import Listener

_CUT = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'engage-sync listener'")


def notify(engine: Engine, channel: str) -> None:
    with engine.begin() as connection:
        channels.notify(connection, channel)


async def woken(listener: Listener, channel: str, within: float = 20.0) -> bool:
    began = time.monotonic()
    await listener.wait(channel, within, asyncio.Event())
    return time.monotonic() - began < within


def test_who_waits_is_woken_by_its_own_channel_and_once(engine: Engine, database_url: str) -> None:
    async def main() -> list[bool]:
        stop = asyncio.Event()
        listener = Listener(database_url, [channels.INBOX, channels.TOUCHES])
        running = asyncio.create_task(listener.run(stop))
        # As it begins everybody is woken: something may have come before.
        found = [await woken(listener, channel) for channel in (channels.INBOX, channels.TOUCHES)]
        waiting = asyncio.create_task(woken(listener, channels.INBOX))
        for _ in range(5):
            await asyncio.to_thread(notify, engine, channels.INBOX)
        await asyncio.to_thread(notify, engine, channels.OUTBOX)
        found.append(await waiting)
        await woken(listener, channels.INBOX, 0.5)
        found += [await woken(listener, channel, 0.3) for channel in (channels.INBOX, channels.TOUCHES)]
        stop.set()
        await running
        return found

    assert asyncio.run(main()) == [True, True, True, False, False]


def test_after_a_lost_connection_everybody_is_woken_and_hears_again(engine: Engine, database_url: str) -> None:
    def cut() -> None:
        with engine.begin() as connection:
            assert connection.execute(_CUT).all()

    async def main() -> list[bool]:
        stop = asyncio.Event()
        listener = Listener(database_url, [channels.INBOX])
        running = asyncio.create_task(listener.run(stop))
        found = [await woken(listener, channels.INBOX)]
        await asyncio.to_thread(cut)
        found.append(await woken(listener, channels.INBOX))
        await asyncio.to_thread(notify, engine, channels.INBOX)
        found.append(await woken(listener, channels.INBOX))
        stop.set()
        await running
        return found

    assert asyncio.run(main()) == [True, True, True]
