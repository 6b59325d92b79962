"""Whether anything grows that shouldn't: people enter and leave audiences at a steady rate, for minutes.

    python benchmarks/churn.py [--minutes 5] [--rate 200] [--people 2000]

So many people; each call changes one's plan, so that they leave one audience and enter the other, and both are told:
an identify and an event for each of the two. All processes, the sandbox and this client share the machine. Prints, at
each tenth, the sizes of tables with their indexes (MB), the dead rows of those that are written again and again, and
the memory of each process (MB). What is kept on purpose grows with what happens: `changes`, `delivered`, `touches`.
Ends with exit code 1 where something else grew by half and 8 MB between the third tenth and the last.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import sys
import time
from pathlib import Path

import aiohttp
import orjson
import psycopg
import uvloop
from stack import Stack, stack

# Flat, whatever happens.
FLAT = (
    "inbox", "messages", "lanes", "told", "snapshots", "computations", "rate_budgets", "traits", "identities", "runs",
)  # fmt: skip
GROWING = ("changes", "delivered", "touches", "events", "received_messages")
_SIZES = """
    SELECT coalesce(parent.relname, child.relname), sum(pg_total_relation_size(child.oid)) / 1e6,
           sum(pg_stat_get_dead_tuples(child.oid))
    FROM pg_class AS child
    LEFT JOIN pg_inherits ON inhrelid = child.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent
    WHERE child.relkind = 'r' AND child.relnamespace = 'public'::regnamespace GROUP BY 1
"""
_PLAN = "name: {0}\nquery: trait('plan') = '{0}'\ndestinations: {{iterable: {{identify: true, track: true}}}}\n"


async def churn(made: Stack, given: argparse.Namespace) -> None:
    """Calls at a steady rate: each person in turn changes plans."""
    credentials = base64.b64encode(f"{made.write_key}:".encode()).decode()
    headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as client:

        async def post(number: int) -> None:
            person, turn = number % given.people, number // given.people
            traits = {"email": f"p{person}@example.com", "plan": ("gold", "blue")[turn % 2]}
            call = {"userId": f"p{person}", "traits": traits}
            async with client.post(f"{made.api}/v1/identify", data=orjson.dumps(call)) as answer:
                answer.raise_for_status()

        began = time.monotonic()
        next_look = 0.0
        print(
            f"{'second':>6} "
            + " ".join(f"{name[:12]:>12}" for name in (*FLAT, *GROWING))
            + "  memory of processes (MB)"
        )
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(given.rate * given.minutes * 60)):
                passed = time.monotonic() - began
                if passed >= next_look:
                    next_look += given.minutes * 6
                    tasks.create_task(asyncio.to_thread(look, made, passed, given.seen))
                await asyncio.sleep(max(0.0, number / given.rate - passed))
                tasks.create_task(post(number))
        await asyncio.to_thread(look, made, time.monotonic() - began, given.seen)


def look(made: Stack, second: float, seen: list[dict[str, float]]) -> None:
    """One line of the table."""
    with psycopg.connect(f"host={made.folder}/.engage-sync/postgres user=postgres dbname=engage_sync") as connection:
        sizes = {name: (float(size), int(dead)) for name, size, dead in connection.execute(_SIZES).fetchall()}
    memory = _memory(made)
    seen.append({name: sizes[name][0] for name in FLAT} | memory)
    print(
        f"{second:6.0f} "
        + " ".join(f"{sizes[name][0]:5.1f}/{sizes[name][1]:<6}" for name in FLAT)
        + " "
        + " ".join(f"{sizes[name][0]:12.1f}" for name in GROWING)
        + "  "
        + " ".join(f"{role} {size:.0f}" for role, size in memory.items()),
        flush=True,
    )


def _memory(made: Stack) -> dict[str, float]:
    """What is in memory of each of the workspace's processes, by role, in MB."""
    found: dict[str, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"ENGAGE_SYNC_WORKSPACE={made.folder}".encode() not in (folder / "environ").read_bytes():
                continue
            words = (folder / "cmdline").read_bytes().split(b"\0")
            pages = int((folder / "statm").read_text().split()[1])
        except OSError:
            continue
        if b"engage_sync" in words:
            role = next((word.decode() for word in words if word in (b"up", b"schedule", b"deliver")), None)
            if role is not None:
                found[role] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return dict(sorted(found.items()))


def grown(seen: list[dict[str, float]]) -> list[str]:
    """What grew by half and by 8 MB after the third tenth."""
    before, after = seen[3], seen[-1]
    return [name for name in before if after.get(name, 0.0) > max(1.5 * before[name], before[name] + 8)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--people", type=int, default=2000)
    given = parser.parse_args()
    given.seen = []
    files = {f"audiences/{name}.yml": _PLAN.format(name) for name in ("gold", "blue")}
    with stack(files) as made, made.stand_in():
        made.run("apply", "--yes")
        made.run("compute")
        with made.up():
            try:
                uvloop.run(churn(made, given))
            except BaseExceptionGroup as failed:
                log = (made.folder / "up.log").read_text().splitlines()
                raise SystemExit("\n".join(["The daemon doesn't answer. The end of its log:", *log[-40:]])) from failed
    found = grown(given.seen)
    print(f"Grew: {', '.join(found) or 'nothing that should stay as it is'}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
