"""Who does what, by a seed: people who buy, look, change plans, gain emails, and turn out to be one. Pure.

Each person's calls are one sequence, and what must be true of them in the end follows from it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

# Connected to the destinations, and not.
WEB, APP = "web", "app"
_PLANS: Final = ("gold", "silver", "bronze")
_MOST_EMAILS: Final = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A call to /v1/{type}. `passed_on` is what destinations hear of it, None where its source isn't connected."""

    source: str
    type: str
    body: dict[str, Any]
    passed_on: PassedOn | None = None


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A source's call at the destination: whom it names, what it says, and the id, or the number that stands for one.

    `is_forwarded_id`: the destination knows it by the id made of the call's own.
    """

    identity: str
    says: str
    id: str
    is_forwarded_id: bool = False


@dataclass(slots=True)
class Person:
    """`is_split` until it turns out that the user id and the email are one person: they act as two until then."""

    number: int
    dice: random.Random
    emails: list[str] = field(default_factory=list)
    is_split: bool = False
    plan: str | None = None
    totals: list[float] = field(default_factory=list)
    viewed: str | None = None
    accepted: list[Call] = field(default_factory=list)
    _made: int = 0

    @property
    def user_id(self) -> str:
        return f"u{self.number}"

    def first_email(self) -> str:
        return f"p{self.number}-1@x.io"

    def next_call(self) -> Call:
        """What the person does next."""
        self._made += 1
        if self._made == 1:
            # Iterable takes no events of a user id that it hasn't heard of.
            self.plan = self.dice.choice(_PLANS)
            return self._identify(WEB, self.user_id, None, plan=self.plan)
        if not self.emails and not self.is_split and self.dice.random() < 0.5:
            self.is_split = True
        act = self.dice.choices((self._change_plan, self._order, self._look, self._gain_email), weights=(4, 3, 3, 1))[0]
        return act()

    def last_call(self) -> Call:
        """Whoever hasn't yet says that user id and email are one."""
        self._made += 1
        return self._identify(self.dice.choice((WEB, APP)), self.user_id, self.first_email())

    def truth(self) -> dict[str, Any]:
        """What definitions must say of the person in the end, by key; what is absent has no value."""
        spent, orders = sum(self.totals), len(self.totals)
        is_gold = self.plan == "gold"
        found: dict[str, Any] = {"gold": is_gold, "loyal": is_gold and orders >= 2, "big_spender": spent > 100}
        if orders:
            found |= {"spent": spent, "orders": orders}
        if self.viewed is not None:
            found["last_viewed"] = self.viewed
        return found

    def _change_plan(self) -> Call:
        self.plan = self.dice.choice([plan for plan in _PLANS if plan != self.plan])
        user, email = self._names()
        return self._identify(self._source(), user, email, plan=self.plan)

    def _order(self) -> Call:
        total = self.dice.randrange(2, 120) / 2
        self.totals.append(total)
        order = f"o{self.number}-{self._made}"
        product = {"product_id": "p1", "name": "Tea", "price": total, "quantity": 1}
        return self._track("Order Completed", {"order_id": order, "total": total, "products": [product]}, order)

    def _look(self) -> Call:
        self.viewed = f"s{self._made}"
        return self._track("Product Viewed", {"sku": self.viewed})

    def _gain_email(self) -> Call:
        if self.is_split and not self.emails:
            self.is_split = False
        if len(self.emails) < _MOST_EMAILS:
            self.emails.append(f"p{self.number}-{len(self.emails) + 1}@x.io")
        return self._identify(self._source(), self.user_id, self.emails[-1])

    def _identify(self, source: str, user: str | None, email: str | None, **traits: Any) -> Call:
        traits["seq"] = self._made
        if email is not None:
            traits["email"] = email
        passed_on = PassedOn(email or user or "", "identify", str(self._made)) if source == WEB else None
        return Call(source, "identify", {**self._header(user), "traits": traits}, passed_on)

    def _track(self, event: str, properties: dict[str, Any], order: str | None = None) -> Call:
        source, (user, email) = self._source(), self._names()
        body = {**self._header(user), "event": event, "properties": properties}
        if email is not None:
            body["context"] = {"traits": {"email": email}}
        passed_on = None
        if source == WEB:
            says = "purchase" if order else event
            passed_on = PassedOn(email or user or "", says, order or body["messageId"], is_forwarded_id=not order)
        return Call(source, "track", body, passed_on)

    def _header(self, user: str | None) -> dict[str, Any]:
        who = {"userId": user} if user else {"anonymousId": f"a{self.number}"}
        return {"messageId": f"m{self.number}-{self._made}", **who}

    def _names(self) -> tuple[str | None, str | None]:
        """User id and email, as a call gives them: now the one, now the other, or both of somebody known by both."""
        if self.is_split:
            return self.dice.choice(((self.user_id, None), (None, self.first_email())))
        if not self.emails:
            return self.user_id, None
        email = self.dice.choice(self.emails)
        return self.dice.choice(((self.user_id, None), (self.user_id, email), (None, email)))

    def _source(self) -> str:
        return self.dice.choice((WEB, WEB, APP))


def population(seed: int, count: int) -> list[Person]:
    return [Person(number, random.Random(f"{seed} {number}")) for number in range(1, count + 1)]
