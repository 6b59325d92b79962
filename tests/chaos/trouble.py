"""What is done to a run beside kills, by a seed: cut connections, crashes, sick destinations, people to forget."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import httpx

from engage_sync.destinations.segment.destination import BATCH
from tests.chaos.forgetting import Forgetting
from tests.chaos.ground import Ground
from tests.chaos.kills import Kills
from tests.chaos.people import Person
from tests.chaos.witnesses import HOOK

# How often each is done, and how many seconds pass before the next.
_WEIGHTS: Final[Mapping[str, int]] = {"misbehave": 5, "cut": 4, "crash": 1, "kill_backend": 1, "freeze": 1, "forget": 1}
_STATUSES: Final = (429, 500, 502, 503, 504, 408)
_PEOPLE_PATHS: Final = ("/api/users/update", "/api/users/bulkUpdate", "/api/events/track", "/api/events/trackBulk")
# What isn't about somebody by an email alone is refused now and then.
_REFUSED_NOW_AND_THEN: Final = ("/api/users/updateEmail", "/api/users/forget", BATCH, HOOK)


class Trouble:
    """`longest_delay` is below the time that a request may take. `roles` are those that are killed."""

    def __init__(
        self,
        ground: Ground,
        people: Sequence[Person],
        seed: int,
        *,
        roles: Sequence[str],
        kills_a_minute: float,
        most_forgotten: int,
        longest_delay: float,
        pause: tuple[float, float],
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.log: list[str] = []
        self._ground, self._people, self._roles = ground, people, roles
        self._dice = random.Random(f"trouble {seed}")
        self._longest_delay, self._pause = longest_delay, pause
        self._began = time.time()
        self._watch = watch
        self._lifted_at: dict[str, float] = {}
        chosen = [ground.roles[name] for name in roles]
        self.kills = Kills(chosen, random.Random(f"kills {seed}"), kills_a_minute, self._say)
        self._forgetting = Forgetting(ground, people, self._dice, most_forgotten, self._say)

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Do one thing after another; in the end everything is as it should be."""
        acts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "misbehave": self._misbehave,
            "cut": self._cut,
            "crash": self._crash,
            "kill_backend": self._kill_backend,
            "freeze": self._freeze,
            "forget": self._forgetting.begin,
        }
        names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        # Each kind comes early, also in a short run.
        coming = self._dice.sample(names, len(names))
        for slug in sorted(self._ground.witnesses):
            await self._misbehave(slug)
        async with self.kills:
            while goes_on():
                name = coming.pop() if coming else self._dice.choices(names, weights=weights)[0]
                await acts[name]()
                await asyncio.sleep(self._dice.uniform(*self._pause))
                await self._lift(time.time())
                self._keep_running()
        await self._lift(float("inf"))
        await asyncio.to_thread(self._ground.postgres.start)
        for role in self._ground.roles.values():
            role.thaw()
        self._keep_running()
        await self._forgetting.end()
        self._say("over", "everything is left alone from here on")

    def _keep_running(self) -> None:
        """What ended by itself is started again, as `up` would."""
        for role in self._ground.roles.values():
            role.start()

    async def _freeze(self) -> None:
        """A process hangs, maybe for longer than a request lives, and may lose its connections and lanes meanwhile."""
        role = self._ground.roles[self._dice.choice(self._roles)]
        role.freeze()
        self._say("freeze", role.name)
        if self._dice.random() < 0.5:
            await self._cut(1.0)
        await asyncio.sleep(self._dice.uniform(0.2, 2.0) * self._longest_delay)
        role.thaw()
        self._say("thaw", role.name)

    async def _cut(self, share: float | None = None) -> None:
        backends = await asyncio.to_thread(self._ground.postgres.backends)
        share = share or self._dice.choice((0.1, 0.4, 1.0))
        chosen = [backend for backend in backends if self._dice.random() < share]
        await asyncio.to_thread(self._ground.postgres.cut, chosen)
        self._say("cut", f"{len(chosen)} of {len(backends)} connections")

    async def _crash(self) -> None:
        self._say("crash", "Postgres")
        await asyncio.to_thread(self._ground.postgres.crash)
        await asyncio.sleep(self._dice.uniform(0.0, 1.5))
        await asyncio.to_thread(self._ground.postgres.start)

    async def _kill_backend(self) -> None:
        if await asyncio.to_thread(self._ground.postgres.kill_backend, self._dice.random()):
            self._say("kill_backend", "one, with SIGKILL")

    async def _misbehave(self, slug: str | None = None) -> None:
        slug = slug or self._dice.choice(sorted(self._ground.witnesses))
        faults = self._faults()
        lifted = self._dice.uniform(1.0, 2.0) * self._longest_delay
        async with httpx.AsyncClient(timeout=30.0) as client:
            await client.delete(f"{self._ground.witnesses[slug]}/sandbox/faults")
            answer = await client.post(f"{self._ground.witnesses[slug]}/sandbox/faults", json=faults)
            assert answer.status_code == 201, answer.text
        self._lifted_at[slug] = time.time() + lifted
        kinds = [f"{each['kind']} {each.get('status', '')}".strip() for each in faults]
        self._say("misbehave", f"{slug}, for {lifted:.1f} s: {', '.join(kinds)}")

    def _faults(self) -> list[dict[str, Any]]:
        """Several at once, each meeting some of the requests; sometimes nothing gets through."""
        dice, is_total = self._dice, self._dice.random() < 0.15
        known: list[dict[str, Any]] = [
            *({"kind": "status", "status": status} for status in _STATUSES),
            *({"kind": "status", "status": status, "when": "after"} for status in (500, 503, 504)),
            {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
            {"kind": "status", "status": 502, "body": "<html>Bad gateway</html>"},
            {"kind": "reset"},
            {"kind": "lost"},
            {"kind": "half"},
            *(
                {"kind": "delay", "seconds": 0.0, "up_to": self._longest_delay, "when": when}
                for when in ("before", "after")
            ),
        ]
        faults = [
            {**fault, "probability": 1.0 if is_total else dice.uniform(0.05, 0.4)}
            for fault in dice.sample(known, dice.randint(2, 6))
        ]
        if dice.random() < 0.5:
            person = dice.choice(self._people)
            final = {"kind": "status", "status": 409, "match": {"email": person.first_email()}}
            rare = {"kind": "status", "status": 409, "probability": 0.05}
            faults = [
                *({**final, "path": path} for path in _PEOPLE_PATHS),
                *({**rare, "path": path} for path in _REFUSED_NOW_AND_THEN),
                *faults,
            ]
        return faults

    async def _lift(self, now: float) -> None:
        for slug in [slug for slug, lifted in self._lifted_at.items() if lifted <= now]:
            async with httpx.AsyncClient(timeout=30.0) as client:
                await client.delete(f"{self._ground.witnesses[slug]}/sandbox/faults")
            del self._lifted_at[slug]
            self._say("lift", slug)

    def _say(self, what: str, about: str) -> None:
        self.done[what] += 1
        self.log.append(f"{time.time() - self._began:7.2f} s  {what:12} {about}")
        if self._watch is not None:
            self._watch(self.log[-1])
