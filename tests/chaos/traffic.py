"""The people's calls over HTTP: sent in each person's order, each again under its id until it is accepted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from tests.chaos.people import Call, Person

_PATIENCE = aiohttp.ClientTimeout(total=10.0)
_AGAIN_AFTER = 0.3


@dataclass(slots=True)
class Sent:
    """`repeats` were sent again, as nobody had accepted them."""

    accepted: int = 0
    repeats: int = 0


class Traffic:
    """`pause` is the longest time between two calls of one person; `wants_more` of a person and how many they sent."""

    def __init__(self, api: str, people: list[Person], pause: float, wants_more: Callable[[int], bool]) -> None:
        self.sent = Sent()
        self._api, self._people, self._pause, self._wants_more = api, people, pause, wants_more

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = aiohttp.ClientSession(timeout=_PATIENCE, connector=connector)
        async with session, asyncio.TaskGroup() as tasks:
            for person in self._people:
                tasks.create_task(self._act(session, person))

    async def _act(self, session: aiohttp.ClientSession, person: Person) -> None:
        pauses, made = random.Random(person.number), 0
        while self._wants_more(made):
            await asyncio.sleep(pauses.uniform(0.0, self._pause))
            await self._send(session, person, person.next_call())
            made += 1
        await self._send(session, person, person.last_call())

    async def _send(self, session: aiohttp.ClientSession, person: Person, call: Call) -> None:
        while not await self._is_accepted(session, call):
            self.sent.repeats += 1
            await asyncio.sleep(_AGAIN_AFTER)
        self.sent.accepted += 1
        person.accepted.append(call)

    async def _is_accepted(self, session: aiohttp.ClientSession, call: Call) -> bool:
        url, headers = f"{self._api}/v1/{call.type}", {"Authorization": f"Bearer {call.source}-key"}
        try:
            async with session.post(url, json=call.body, headers=headers) as answer:
                text = await answer.text()
                if answer.status < 500 and answer.status not in (200, 429):
                    raise AssertionError(f"{call} was answered with {answer.status} {text}")
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
