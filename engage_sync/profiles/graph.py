"""The part of the identity graph that a batch concerns, in memory. Pure, but for two questions to its loader.

Calls are resolved one after the other, so that a batch can't differ from its calls one by one; only loading and writing
is done for all at once. Nodes are profiles; one that was merged away points to the one that took it in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from engage_sync.profiles import identifiers
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.identifiers import ANONYMOUS_ID, EMAIL, KNOWING, USER_ID, Identifier

# Events are counted up to here to decide which of two profiles has more: beyond, moving either costs about the same.
COUNTED_EVENTS = 10_000

# Profiles that the database doesn't have yet are younger than all it has.
_NOT_YET = float("inf")
_LONG_AGO = float("-inf")


@dataclass(slots=True, eq=False)
class Node:
    """A profile. `id` is None until a new one is written; `age` orders by creation (seconds, then number).

    `counts` are its identifiers by type, and `events` how many it has (at most COUNTED_EVENTS; None: not asked yet);
    both are read only where a call could change something. So are, where one email is all that a profile may have, its
    `email` and when it said so (`email_at`, microseconds since 2000).
    """

    id: int | None
    age: tuple[float, int]
    public_id: str | None = None
    is_known: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    events: int | None = None
    new_events: int = 0
    email: str | None = None
    email_at: float = _LONG_AGO
    merged_into: Node | None = None
    # What changed, to be written.
    lost_ids: list[int] = field(default_factory=list)
    lost_public_ids: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)

    def root(self) -> Node:
        node = self
        while node.merged_into is not None:
            node = node.merged_into
        return node


@dataclass(frozen=True, slots=True)
class Merged:
    """At this point of the batch, `lost` went into `kept`."""

    kept: Node
    lost: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """At this point of the batch, a call set traits of `node`."""

    node: Node
    traits: dict[str, bytes]
    timestamp: int


@dataclass(frozen=True, slots=True)
class EmailChange:
    """By the call at this position, the one email of `node` gave way to another."""

    position: int
    node: Node
    before: str
    after: str
    user_id: str


@dataclass(slots=True, kw_only=True)
class Graph:
    """`holders` maps identifiers to nodes; `count_events` tells how many events stored profiles have.

    `forgotten` are identifiers that nobody holds any more.
    """

    limits: Mapping[str, int]
    holders: dict[Identifier, Node]
    count_events: Callable[[Iterable[int]], Mapping[int, int]]
    created: list[Node] = field(default_factory=list)
    learnt: list[tuple[Identifier, Node, int]] = field(default_factory=list)
    forgotten: list[Identifier] = field(default_factory=list)
    email_changes: list[EmailChange] = field(default_factory=list)
    log: list[Merged | Written] = field(default_factory=list)

    def resolve(self, facts: Facts) -> Node:
        """The profile that a call is about, made, widened or merged as the call says."""
        found = facts.identifiers
        if facts.previous_id is not None:
            found = self._with_previous(found, facts.previous_id)
        node = self._sole_holder(found)
        if node is None:
            node = self._link(found, facts)
        if facts.event is not None:
            node.new_events += 1
            node.reasons.add("event:" + facts.event)
        if facts.traits is not None:
            self.log.append(Written(node, facts.traits, facts.timestamp))
            if EMAIL in facts.traits and facts.timestamp > node.email_at:
                node.email_at = facts.timestamp
        return node

    def _sole_holder(self, found: tuple[Identifier, ...]) -> Node | None:
        """The usual case: one profile has all of the call's identifiers."""
        sole: Node | None = None
        for identifier in found:
            holder = self.holders.get(identifier)
            if holder is None:
                return None
            if holder.merged_into is not None:
                holder = self.holders[identifier] = holder.root()
            if sole is None:
                sole = holder
            elif sole is not holder:
                return None
        return sole

    def _with_previous(self, found: tuple[Identifier, ...], previous: str) -> tuple[Identifier, ...]:
        # Usually an anonymous id; a user id only where it is known as one (and then protected from merging).
        anonymous, user = (ANONYMOUS_ID, previous), (USER_ID, previous)
        known_as = user if anonymous not in self.holders and user in self.holders else anonymous
        return found if known_as in found else (*found, known_as)

    def _link(self, found: tuple[Identifier, ...], facts: Facts) -> Node:
        while True:
            nodes: list[Node] = []
            new: list[Identifier] = []
            for identifier in found:
                holder = self.holders.get(identifier)
                if holder is None:
                    new.append(identifier)
                elif (root := holder.root()) not in nodes:
                    nodes.append(root)
            replacing = self._replacing(found, nodes, new, facts)
            if not self._conflicts(nodes, [identifier for identifier in new if identifier != replacing]):
                break
            # The identifier of lowest priority gives way, and the call is resolved again without it.
            found = found[:-1]
        node = self._merge(nodes) if len(nodes) > 1 else nodes[0] if nodes else self._create()
        if replacing is not None:
            self._forget_email(node, replacing, found[0][1], facts)
        for identifier in new:
            self._learn(node, identifier, facts.source_id)
        return node

    def _replacing(
        self, found: tuple[Identifier, ...], nodes: list[Node], new: list[Identifier], facts: Facts
    ) -> Identifier | None:
        """The email that takes the place of the only one that its profile may have.

        Only what an identify says of its user's traits, and no late one; and nobody holds the new email: those who do
        are two people with one email each, and in that conflict the call's email gives way.
        """
        if self.limits.get(EMAIL) != 1 or len(nodes) != 1 or facts.traits is None:
            return None
        node, emails = nodes[0], [identifier for identifier in new if identifier[0] == EMAIL]
        user = self.holders.get(found[0]) if found[0][0] == USER_ID else None
        is_theirs = user is not None and user.root() is node
        has_one = node.counts.get(EMAIL) == 1 and node.email is not None
        if not (is_theirs and has_one and len(emails) == 1) or facts.timestamp < node.email_at:
            return None
        return emails[0] if emails[0] == identifiers.email_of(facts.traits.get(EMAIL)) else None

    def _forget_email(self, node: Node, replacing: Identifier, user_id: str, facts: Facts) -> None:
        assert node.email is not None
        before = (EMAIL, node.email)
        self.holders.pop(before, None)
        self.learnt = [entry for entry in self.learnt if entry[0] != before]
        self.forgotten.append(before)
        node.counts[EMAIL] -= 1
        self.email_changes.append(EmailChange(facts.position, node, node.email, replacing[1], user_id))

    def _conflicts(self, nodes: list[Node], new: list[Identifier]) -> bool:
        totals: dict[str, int] = {}
        for type_, _ in new:
            totals[type_] = totals.get(type_, 0) + 1
        if len(nodes) > 1:
            if sum(1 for node in nodes if node.counts.get(USER_ID)) > 1:
                return True
            for node in nodes:
                for type_, count in node.counts.items():
                    totals[type_] = totals.get(type_, 0) + count
        elif nodes:
            counts = nodes[0].counts
            totals = {type_: count + counts.get(type_, 0) for type_, count in totals.items()}
        return any(count > identifiers.limit(self.limits, type_) for type_, count in totals.items())

    def _create(self) -> Node:
        node = Node(id=None, age=(_NOT_YET, len(self.created)), events=0)
        node.reasons.add("identity")
        self.created.append(node)
        return node

    def _learn(self, node: Node, identifier: Identifier, source_id: int) -> None:
        type_ = identifier[0]
        self.holders[identifier] = node
        self.learnt.append((identifier, node, source_id))
        node.counts[type_] = node.counts.get(type_, 0) + 1
        if type_ == EMAIL:
            node.email = identifier[1]
        node.is_known = node.is_known or type_ in KNOWING
        node.reasons.add("identity")

    def _merge(self, nodes: list[Node]) -> Node:
        """The one with more events keeps its internal id, so that few rows move; the oldest gives the public id."""
        self._count(nodes)
        oldest = min(nodes, key=lambda node: node.age)
        kept = max(nodes, key=lambda node: (_events(node), node is oldest, -node.age[0], -node.age[1]))
        lost = tuple(node for node in nodes if node is not kept)
        public_ids = [node.public_id for node in nodes if node is not oldest and node.public_id is not None]
        kept.events, kept.new_events = min(COUNTED_EVENTS, sum(map(_events, nodes))), 0
        kept.age, kept.public_id = oldest.age, oldest.public_id
        kept.lost_public_ids += public_ids
        for node in lost:
            node.merged_into = kept
            kept.is_known = kept.is_known or node.is_known
            kept.email, kept.email_at = kept.email or node.email, max(kept.email_at, node.email_at)
            for type_, count in node.counts.items():
                kept.counts[type_] = kept.counts.get(type_, 0) + count
            kept.lost_ids += node.lost_ids
            if node.id is not None:
                kept.lost_ids.append(node.id)
            kept.lost_public_ids += node.lost_public_ids
            kept.reasons |= node.reasons
        kept.reasons.add("identity")
        self.log.append(Merged(kept, lost))
        return kept

    def _count(self, nodes: list[Node]) -> None:
        unknown = {node.id: node for node in nodes if node.events is None and node.id is not None}
        if unknown:
            counted = self.count_events(unknown)
            for id_, node in unknown.items():
                node.events = counted.get(id_, 0)


def _events(node: Node) -> int:
    return min(COUNTED_EVENTS, (node.events or 0) + node.new_events)
