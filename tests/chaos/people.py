"""Who does what, by a seed: people who fill carts, buy, look, change plans and emails, and turn out to be one. Pure.

Each person's calls are one sequence, and what must be true of them in the end follows from it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

# Connected to the destinations, and not.
WEB, APP = "web", "app"
_PLANS: Final = ("gold", "silver", "bronze")
# Of somebody who has one at a time.
_MOST_EMAILS_IN_TURN: Final = 6


@dataclass(frozen=True, slots=True)
class Call:
    """A call to /v1/{type}. `passed_on` is what destinations hear of it, None where its source isn't connected."""

    source: str
    type: str
    body: dict[str, Any]
    passed_on: PassedOn | None = None


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A source's call at Iterable: whom it names, what it says, and the id, or the number that stands for one.

    `is_forwarded_id`: Iterable knows it by the id made of the call's own, as all other destinations know all calls.
    """

    identity: str
    says: str
    id: str
    is_forwarded_id: bool = False


@dataclass(slots=True)
class Person:
    """`is_split` until it turns out that the user id and the email are one person: they act as two until then.

    `emails` are those that they have, the last one gained last, and `named` all that were ever said to be theirs.
    Who `is_forgotten` still acts, by the user id, and nothing comes of it.
    """

    number: int
    dice: random.Random
    most_emails: int
    emails: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    is_split: bool = False
    is_forgotten: bool = False
    plan: str | None = None
    totals: list[float] = field(default_factory=list)
    viewed: str | None = None
    accepted: list[Call] = field(default_factory=list)
    _made: int = 0

    @property
    def user_id(self) -> str:
        return f"u{self.number}"

    def first_email(self) -> str:
        return self._email(1)

    def identities(self) -> set[str]:
        return {self.user_id, self.first_email(), *self.named}

    def next_call(self) -> Call:
        """What the person does next."""
        self._made += 1
        if self._made == 1:
            # Iterable takes no events of a user id that it hasn't heard of.
            self.plan = self.dice.choice(_PLANS)
            return self._identify(WEB, self.user_id, None, plan=self.plan)
        if not self.emails and not self.is_split and not self.is_forgotten and self.dice.random() < 0.5:
            self.is_split = True
        acts = (self._change_plan, self._order, self._look, self._fill_cart, self._gain_email)
        return self.dice.choices(acts, weights=(4, 3, 3, 1, 1 if self.most_emails > 1 else 2))[0]()

    def last_call(self) -> Call:
        """Whoever hasn't yet says that user id and email are one."""
        self._made += 1
        email = self.emails[-1] if self.emails else self.first_email()
        return self._identify(self.dice.choice((WEB, APP)), self.user_id, email)

    def truth(self) -> dict[str, Any]:
        """What definitions must say of the person in the end, by key; what is absent has no value."""
        if self.is_forgotten:
            return {}
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
        return self._track(
            "Order Completed", {"order_id": order, "total": total, "products": [product]}, ("purchase", order)
        )

    def _look(self) -> Call:
        self.viewed = f"s{self._made}"
        return self._track("Product Viewed", {"sku": self.viewed})

    def _fill_cart(self) -> Call:
        item = f"c{self.number}-{self._made}"
        product = {"product_id": item, "name": "Tea", "price": 2.5, "quantity": self.dice.randint(1, 3)}
        return self._track("Cart Updated", {"products": [product]}, ("cart", item))

    def _gain_email(self) -> Call:
        if self.is_forgotten:
            return self._look()
        self.is_split = False
        most = self.most_emails if self.most_emails > 1 else _MOST_EMAILS_IN_TURN
        if self.most_emails == 1 and len(self.named) > 1 and (len(self.named) == most or self.dice.random() < 0.3):
            # Back to one that they had.
            self.emails = [self.dice.choice([email for email in self.named if email not in self.emails])]
        elif len(self.named) < most:
            self.named.append(self._email(len(self.named) + 1))
            self.emails = [*self.emails, self.named[-1]] if self.most_emails > 1 else [self.named[-1]]
        return self._identify(self._source(), self.user_id, self.emails[-1])

    def _email(self, number: int) -> str:
        return f"p{self.number}-{number}@x.io"

    def _identify(self, source: str, user: str | None, email: str | None, **traits: Any) -> Call:
        traits["seq"] = self._made
        if email is not None:
            traits["email"] = email
        passed_on = PassedOn(email or user or "", "identify", str(self._made)) if source == WEB else None
        return Call(source, "identify", {**self._header(user), "traits": traits}, passed_on)

    def _track(self, event: str, properties: dict[str, Any], trade: tuple[str, str] | None = None) -> Call:
        """`trade`: what it is in Iterable's commerce, and the id that it has there."""
        source, (user, email) = self._source(), self._names()
        body = {**self._header(user), "event": event, "properties": properties}
        if email is not None:
            body["context"] = {"traits": {"email": email}}
        passed_on = None
        if source == WEB:
            says, id_ = trade or (event, body["messageId"])
            passed_on = PassedOn(email or user or "", says, id_, is_forwarded_id=trade is None)
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
        names = ((self.user_id, None), (self.user_id, email), (None, email))
        return self.dice.choice(names[:2] if self.is_forgotten else names)

    def _source(self) -> str:
        return self.dice.choice((WEB, WEB, APP))


def population(seed: int, count: int, most_emails: int) -> list[Person]:
    return [Person(number, random.Random(f"{seed} {number}"), most_emails) for number in range(1, count + 1)]
