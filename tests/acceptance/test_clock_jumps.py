"""Hosts whose clocks are hours off, or jump: what is due, when and how fast goes by the database's clock alone."""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from engage_sync.sandbox.server import SandboxServer
from tests.factories.outbox import Outbox
from tests.factories.processes import Fleet, eventually
from tests.world import World, audience

HOUR = 3600
SOURCE = Path(__file__).parent.parent / "factories" / "clock_shift.c"


class Clock:
    """A host's clock, as those see it who are started with its variables."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / name
        self.variables = {"LD_PRELOAD": str(folder / "clock_shift.so"), "CLOCK_SHIFT": str(self._file)}
        self.jump(0)

    def jump(self, hours: float) -> None:
        """So far from the right one, from now on; in those that run already, too."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("l", round(hours * HOUR)))


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="es-clock-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def clocks(folder: Path) -> tuple[Clock, Clock]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("moving a process's clock takes a C compiler")
    library = folder / "clock_shift.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return Clock(folder, "one"), Clock(folder, "other")


@pytest.fixture
def fleet(folder: Path, database_url: str, sandbox: SandboxServer, free_port: int) -> Iterator[Fleet]:
    (folder / "workspace").mkdir()
    made = Fleet(folder / "workspace", database_url, sandbox.url, free_port)
    yield made
    made.close()


def test_a_tick_runs_though_the_scheduler_s_clock_jumped_back(
    fleet: Fleet, clocks: tuple[Clock, Clock], engine: Engine
) -> None:
    world = World(engine)
    world.person("ann", emails=("ann@x.io",))
    world.apply(audience("idle", "event('Order Completed').within(1 day).count() = 0"))
    clock, _ = clocks
    clock.jump(3)
    scheduler = fleet.start("schedule", **clock.variables)
    # By now its timer has run, and knows by its own clock when it is to run again.
    eventually(lambda: world.members("idle") == {"ann"})
    clock.jump(-3)
    world.person("bob", emails=("bob@x.io",))
    with engine.begin() as connection:
        connection.execute(text("UPDATE computations SET swept_to = swept_to - interval '1 hour'"))
    eventually(lambda: world.members("idle") == {"ann", "bob"}, 15)
    scheduler.stop()
    with engine.begin() as connection:
        ticks = connection.execute(text("SELECT status FROM runs WHERE cause = 'tick'")).scalars().all()
        ahead = "SELECT max(greatest(as_of, started_at, finished_at)) <= clock_timestamp() FROM runs"
        assert connection.execute(text(ahead)).scalar_one(), "no instant is the host's"
    assert ticks == ["done"]


def test_workers_whose_clocks_are_hours_apart_keep_one_rate_and_try_again_in_time(
    fleet: Fleet, clocks: tuple[Clock, Clock], engine: Engine, database_url: str, sandbox: SandboxServer
) -> None:
    rate, people = 40, 160
    file = fleet.folder / "engage.yml"
    file.write_text(file.read_text() + f"    rate_limits: {{identify: {rate}}}\n")
    outbox = Outbox(engine, database_url)
    sandbox.add_faults({"path": "*", "match": {"email": "slow@x.io"}, "kind": "status", "status": 500, "times": 2})
    workers = []
    for clock, hours in zip(clocks, (3, -3), strict=True):
        clock.jump(hours)
        workers.append(fleet.start("deliver", waits=False, **clock.variables))
    fleet.until_started(*workers)
    outbox.many_waiting(people)
    outbox.waiting_message("slow@x.io")
    eventually(lambda: outbox.count("delivered") > people / 4)
    for clock, hours in zip(clocks, (-3, 3), strict=True):
        clock.jump(hours)
    eventually(lambda: outbox.count("messages") == 0)
    for worker in workers:
        worker.stop()
    outbox.close()

    requests = [request for request in sandbox.requests() if request["path"] == "/api/users/update"]
    assert len({request["body"]["email"] for request in requests}) == people + 1
    instants = sorted(request["monotonic"] for request in requests)
    crowded = sum(after - before < 1 / 1.5 for before, after in zip(instants, instants[rate:], strict=False))
    assert crowded == 0, "both together never go half as fast again as the rate for a second"
    again = [request["monotonic"] for request in requests if request["body"]["email"] == "slow@x.io"]
    waits = [after - before for before, after in itertools.pairwise(again)]
    assert len(waits) == 2
    assert all(0.4 < wait < 8 for wait in waits), waits
