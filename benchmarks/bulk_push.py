"""How fast a first push goes in bulk: users a second, from the outbox to the sandbox.

    python benchmarks/bulk_push.py [--people 200000] [--workers 1] [--bulk backlog] [--rate 5]

The outbox is filled with one identify a person, as a first push leaves it. The destination is Iterable's, behind it
the sandbox in a process of its own with Iterable's limits; each worker is a process of its own. Printed: users a second
from the first request to the last, what was answered, the most requests in any second, and the processor time of each
side. `--rate 0` leaves the sandbox without a limit, and delivery with 100 requests a second.
"""

from __future__ import annotations

import argparse
import bisect
import json
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from delivery_rate import fill
from sqlalchemy import text

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.destinations import registry
from engage_sync.outbox.enqueue import Priority
from engage_sync.settings import Settings

_UNLIMITED = 100.0


def _deliver(url: str, address: str, bulk: str, rate: float) -> None:
    async def main() -> None:
        engine = create_engine(url)
        config = SimpleNamespace(
            slug="iterable",
            type="iterable",
            settings={"api_key": "sandbox-key", "base_url": address, "bulk": bulk},
            rate_limits={"identify_bulk": rate or _UNLIMITED},
        )
        deliverer = Deliverer(engine, {"iterable": registry.build(config)}, Settings(), direct_url=url)
        report = await deliverer.run_until_empty()
        used = resource.getrusage(resource.RUSAGE_SELF)
        peak = used.ru_maxrss // 1024
        print(
            f"  a worker delivered {report.delivered:,}, retried {report.retried:,}, failed {report.failed:,};", end=""
        )
        print(f" {used.ru_utime + used.ru_stime:.0f} s of processor time, {peak:,} MB at the most")
        engine.dispose()

    uvloop.run(main())


def _sandbox(rate: float) -> tuple[subprocess.Popen[bytes], str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "engage_sync.sandbox", "--port", str(port), "--bulk-update-rate", str(rate)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            _ask(f"{address}/sandbox/summary")
        except OSError:
            time.sleep(0.05)
        else:
            return process, address


def _ask(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


def _processor_time(process: int) -> float:
    return sum(_fields(process)[11:13]) / os.sysconf("SC_CLK_TCK")


def _fields(process: int | str) -> list[int]:
    """The numbers of /proc/…/stat from the state on, which is 0 here: parent at 1, times at 11 to 14."""
    try:
        return [0, *map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1:])]
    except OSError:  # ended in between
        return []


def _server_time(url: str) -> float:
    """What the database server has used so far, with the backends that ended."""
    engine = create_engine(url)
    with engine.connect() as connection:
        own: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        parent = _fields(own)[1]
        processes = [fields for folder in Path("/proc").glob("[0-9]*") if (fields := _fields(folder.name))]
        # The parent's own, that of its children who ended, and of those who live.
        used = sum(_fields(parent)[11:15]) + sum(sum(each[11:13]) for each in processes if each[1] == parent)
    engine.dispose()
    return used / os.sysconf("SC_CLK_TCK")


def _measure(url: str, people: int, workers: int, bulk: str, rate: float) -> None:
    engine = create_engine(url)
    fill(engine, people, Priority.FIRST_PUSH)
    engine.dispose()
    before = _server_time(url)
    sandbox, address = _sandbox(rate)
    try:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_deliver, args=(url, address, bulk, rate)) for _ in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(f"  the database server used {_server_time(url) - before:.0f} s of processor time")
        _print(address, _processor_time(sandbox.pid))
    finally:
        sandbox.terminate()
        sandbox.wait()


def _print(address: str, processor_time: float) -> None:
    summary = _ask(f"{address}/sandbox/summary")
    times: list[float] = []
    started, ended = float("inf"), 0.0
    for record in _records(address):
        started, ended = min(started, record["monotonic"]), max(ended, record["finished"] or 0.0)
        if record["path"].endswith("/bulkUpdate"):
            times.append(record["monotonic"])
    worst = max((bisect.bisect_left(times, at + 1.0) - number for number, at in enumerate(times)), default=0)
    seconds, users = ended - started, summary["users"]
    print(f"  the sandbox has {users:,} users, with {processor_time:.0f} s of processor time: {summary['requests']}")
    print(f"{users / seconds:,.0f} users a second for {seconds:.1f} s; bulk requests in the worst second: {worst}")


def _records(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["sequence"] if found else 0
        page = _ask(f"{address}/sandbox/requests?after={after}&limit=50")["requests"]
        if not page:
            return found
        found += [{name: value for name, value in record.items() if name != "body"} for record in page]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bulk", choices=["never", "backlog", "always"], default="backlog")
    parser.add_argument("--rate", type=float, default=5)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = os.environ.get("ENGAGE_SYNC_TEST_DATABASE_URL") or embedded.start(home)
    engine = create_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    try:
        _measure(url, arguments.people, arguments.workers, arguments.bulk, arguments.rate)
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
