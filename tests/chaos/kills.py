"""Roles that are killed at random moments, beside whatever else is done to them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from tests.chaos.processes import Role

# How many at once; all of them is a host that goes down.
_AT_ONCE: Final = (1, 1, 1, 1, 2, 2, 3, 4)
# For how long a role may take to get to work, as killing who only starts finds little.
_LET_START: Final = 4.0
_LOOKS: Final = 80


class Kills:
    """As an asynchronous context: while it is open, roles are killed, and started again. `by_role` counts them.

    `at_work` counts those that had got further than starting.
    """

    def __init__(
        self, roles: Sequence[Role], dice: random.Random, a_minute: float, say: Callable[[str, str], None]
    ) -> None:
        self.by_role: Counter[str] = Counter()
        self.at_work = 0
        self._roles, self._dice, self._a_minute, self._say = roles, dice, a_minute, say
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._go_on())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _go_on(self) -> None:
        while self._a_minute:
            chosen = self._dice.sample(self._roles, min(self._dice.choice(_AT_ONCE), len(self._roles)))
            await asyncio.sleep(self._dice.expovariate(self._a_minute / 60 / len(chosen)))
            # Now and then also who only starts.
            if self._dice.random() < 0.9:
                await self._let_start(chosen)
            self._kill(chosen)
            await asyncio.sleep(self._dice.choice((0.0, 0.0, self._dice.uniform(0.0, 2.0))))
            for role in chosen:
                role.start()

    async def _let_start(self, chosen: Sequence[Role]) -> None:
        for _ in range(_LOOKS):
            if all(role.is_at_work for role in chosen):
                break
            await asyncio.sleep(_LET_START / _LOOKS)
        await asyncio.sleep(self._dice.uniform(0.0, 0.5))

    def _kill(self, chosen: Sequence[Role]) -> None:
        for role in chosen:
            was_at_work = role.is_at_work
            if role.kill():
                self.by_role[role.name] += 1
                self.at_work += was_at_work
                self._say("kill", role.name if was_at_work else f"{role.name}, which only started")
