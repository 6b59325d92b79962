"""What the state machine of delivery has in hand: workers, requests on their way, and what arrived."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psycopg

from engage_sync.messages.message import Message


@dataclass
class Worker:
    """One that lives; its lanes with what it loaded, and those of which a message is on its way.

    If it `joins`, values go along with others, except those of people who are taken `apart`.
    """

    id: int
    connection: psycopg.Connection[Any]
    lanes: dict[int, deque[Message]] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    apart: set[int] = field(default_factory=set)
    is_probe: bool = False
    joins: bool = False


@dataclass(eq=False)
class Request:
    """On its way. `worker` None: nobody waits for its answer any more."""

    messages: tuple[Message, ...]
    worker: Worker | None


@dataclass(frozen=True)
class Arrived:
    message: int
    id: str
    content: bytes
    key: tuple[int, str, str] | None
    version: int
    along: frozenset[int]
