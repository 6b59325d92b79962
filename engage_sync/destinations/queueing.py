"""How long what stands in line at a destination takes, by the rate and the daily limit of its own budget. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from engage_sync.destinations.protocol import Destination
from engage_sync.messages import forwarded

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Queue:
    """`rate` in requests a second; `daily`: no more than that in 24 hours, None without such a limit."""

    rate: float
    daily: int | None

    def seconds(self, before: int, used: int) -> float:
        """How long somebody waits who has so many before them; `used` have gone within the last 24 hours."""
        if self.daily is None:
            return before / self.rate
        # Whatever went within a day is as if it had gone just now.
        days, place = divmod(used + before, self.daily)
        return days * DAY + place / self.rate if days else before / self.rate


def of_budget(destination: Destination, budget: str) -> Queue:
    """How what draws on this budget stands in line."""
    return Queue(destination.budgets[budget], destination.daily_limits.get(budget))


def of_forgetting(destination: Destination) -> Queue | None:
    """How those stand in line whom a destination is to forget; None where it can't."""
    requests = destination.requests(forwarded.forget(("user_id", "anybody"), "forget_anybody"))
    return of_budget(destination, requests[0].budget) if isinstance(requests, tuple) else None
