"""How what a destination did differs from what the ledger says it was told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    DIFFERENT = "different"


class Line(NamedTuple):
    """What has one order: what one identity is told by one definition, or by one source's own calls."""

    destination: str
    identity: str
    subject: str


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that is said. Two are the same, said again, if they say the same under the same id (None: has none)."""

    line: Line
    says: str
    id: str | None = None
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """A word in the ledger. `is_dead`: it was given up, and may have arrived before or not."""

    word: Word
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Kind
    line: Line
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {' · '.join(self.line)}: {self.sentence}"


def histories(done: Sequence[Word], ledger: Sequence[Entry]) -> list[Difference]:
    """Nothing lost, nothing doubled but by the same id, nothing reordered; both in their order."""
    by_line: dict[Line, tuple[list[Word], list[Entry]]] = {}
    for word in done:
        by_line.setdefault(word.line, ([], []))[0].append(word)
    for entry in ledger:
        by_line.setdefault(entry.word.line, ([], []))[1].append(entry)
    return [difference for line in sorted(by_line) for difference in _of_line(line, *by_line[line])]


def dead_letters(dead: Iterable[Word], refused: Collection[Word]) -> list[Difference]:
    """Only what the destination refused for good is given up."""
    known = set(refused)
    return [
        Difference(Kind.REFUSED, word.line, f"{_shown(word)} is a dead letter, and was never refused")
        for word in dead
        if word not in known
    ]


def states(held: Mapping[Line, str], confirmed: Mapping[Line, str], wanted: Mapping[Line, str]) -> list[Difference]:
    """The destination's last value, what it counts as told, and what is true are one, for each line."""
    found: list[Difference] = []
    for line in sorted({*held, *confirmed, *wanted}):
        there, told, true = held.get(line), confirmed.get(line), wanted.get(line)
        if not there == told == true:
            found.append(Difference(Kind.DIFFERENT, line, f"held {there}, told {told}, true {true}"))
    return found


def _of_line(line: Line, done: Sequence[Word], ledger: Sequence[Entry]) -> list[Difference]:
    known, arrived = {entry.word for entry in ledger}, set(done)
    lost = [entry.word for entry in ledger if not entry.is_dead and entry.word not in arrived]
    found = [Difference(Kind.LOST, line, f"{_shown(word)} never arrived") for word in lost]
    said = {word.says for word in known}
    for word in dict.fromkeys(done):
        if word in known:
            continue
        if word.id is not None and word.says in said:
            found.append(Difference(Kind.DOUBLED, line, f"{_shown(word)} under an id that the ledger doesn't know"))
        else:
            found.append(Difference(Kind.UNKNOWN, line, f"the ledger doesn't know {_shown(word)}"))
    if found or _follows(done, ledger):
        return found
    return [_out_of_order(line, done, ledger)]


def _follows(done: Sequence[Word], ledger: Sequence[Entry]) -> bool:
    """Whether each word was said once or several times in a row, in the order of the ledger.

    What was given up may be missing. Followed are all entries at which the ledger could stand after each word.
    """
    standing = {-1}
    for word in done:
        after: set[int] = set()
        for place in standing:
            if place >= 0 and ledger[place].word == word:
                after.add(place)
            for following in range(place + 1, len(ledger)):
                if ledger[following].word == word:
                    after.add(following)
                if not ledger[following].is_dead:
                    break
        standing = after
    return any(all(entry.is_dead for entry in ledger[place + 1 :]) for place in standing)


def _out_of_order(line: Line, done: Sequence[Word], ledger: Sequence[Entry]) -> Difference:
    collapsed = [word for place, word in enumerate(done) if place == 0 or done[place - 1] != word]
    rest = iter([entry.word for entry in ledger])
    is_part = all(word in rest for word in collapsed)
    if is_part:
        return Difference(Kind.LOST, line, f"of {len(ledger)} in the ledger, one of several equal ones never arrived")
    shown = " → ".join(_shown(word) for word in collapsed)
    return Difference(Kind.REORDERED, line, f"arrived {shown}; ledger {' → '.join(_shown(e.word) for e in ledger)}")


def _shown(word: Word) -> str:
    return word.says if word.id is None else f"{word.says} ({word.id})"
