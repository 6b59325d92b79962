"""A grocer's year, end to end: what `make demo` runs.

History → import → plan → apply → first push → hourly increments → one new order in real time, all through the command
line and HTTP, against the stand-in for Iterable; and a comparison of what it holds in the end with the snapshots.
Exits with 1 where they differ. Everything lives in a temporary folder, which is gone afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import comparison
import httpx
import report
from commands import CommandFailed, CommandLine
from history import History, write_history
from rich.markup import escape
from sandbox import Sandbox

HERE = Path(__file__).parent
WRITE_KEY = "shop-write-key"
_HOUR = timedelta(hours=1)


@dataclass(kw_only=True)
class Demo:
    """One run of it. `hours` increments go to the end of the data's last day."""

    workspace: Path
    households: int | None
    hours: int
    stay: bool
    engage: CommandLine
    sandbox: Sandbox
    api: str
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> bool:
        """Whether the stand-in holds, in the end, what the snapshots say."""
        history = self._write_history()
        with self._step("Import", f"import {history.identifies.name} {history.orders.name}"):
            self.engage.run("import", str(history.identifies), str(history.orders), "--source", "shop")
        with self._step("Plan", "plan"):
            self.engage.run("plan")
        with self._step("Apply", "apply --yes"):
            self.engage.run("apply", "--yes")
        start = history.end - self.hours * _HOUR
        with self._step("First push: everything is new to Iterable", f"sync --as-of {report.instant(start)}"):
            self.engage.run("sync", "--as-of", report.instant(start))
        with self._step(f"{self.hours} hourly increments", f"sync --as-of {report.instant(start + _HOUR)} and so on"):
            self._increments(start)
        with self._step("And up to now: only what changed since is computed and told", "sync"):
            report.increment(None, self.engage.read("sync"), 0.0)
        with ExitStack() as stack:
            up = self.engage.start("up", answers=f"{self.api}/health/ready")
            stack.callback(up.stop)
            with self._step("One new order, in real time", "up"):
                self._order(history.nearly_gold)
            # Nothing is under way any more: what `up` was asked to finish, it has.
            up.stop()
            with self._step("What Iterable was told, beside what is true", "members KEY --json, for each"):
                self.engage.run("deliver", "--until-empty")
                is_equal = self._compare()
            self._summary(history.nearly_gold)
            if self.stay:
                again = self.engage.start("up", answers=f"{self.api}/health/ready")
                stack.callback(again.stop)
                report.staying(self.workspace, self.api)
                again.wait()
        return is_equal

    def _write_history(self) -> History:
        with self._step("History: real baskets of a grocer's households as Segment calls"):
            history = write_history(self.workspace, now=datetime.now(UTC), households=self.households)
            size = (history.identifies.stat().st_size + history.orders.stat().st_size) / 1e6
            report.out.print(
                f"{history.calls:,} calls of {history.households:,} households ({size:,.0f} MB),"
                f" moved by whole weeks to end at {report.instant(history.end)}"
            )
        return history

    def _increments(self, start: datetime) -> None:
        for hour in range(1, self.hours + 1):
            as_of = start + hour * _HOUR
            begun = time.monotonic()
            rows = self.engage.read("sync", "--as-of", report.instant(as_of))
            report.increment(as_of, rows, time.monotonic() - begun)

    def _order(self, household: str) -> None:
        """An order through the tracking API, as the shop's server would send it; when is Iterable told what?"""
        before = self.sandbox.summary()["total"]
        order = {
            "event": "Order Completed",
            "userId": household,
            "messageId": "order-of-the-demo",
            "properties": {"order_id": "demo", "total": 120.5, "revenue": 120.5, "store": "store-330", "products": []},
        }
        sent = time.time()
        answer = httpx.post(f"{self.api}/v1/track", json=order, auth=(WRITE_KEY, ""), timeout=10)
        accepted = time.time()
        answer.raise_for_status()
        requests = self.sandbox.requests_after(before, quiet=1.5, patience=20)
        report.effect(household, 1000 * (accepted - sent), sent, requests)
        if not requests:
            raise CommandFailed("The new order had no effect at the stand-in within 20 seconds.")

    def _compare(self) -> bool:
        told = comparison.told(self.workspace, "iterable", lambda key: self.engage.read("members", key)["members"])
        compared, differences = comparison.compare(told, self.sandbox.users(), self.sandbox.events())
        report.verdict(compared, differences)
        return not differences

    def _summary(self, household: str) -> None:
        profile = self.engage.read("profile", f"user_id:{household}")
        emails = [each["value"] for each in profile["identities"] if each["type"] == "email"]
        report.definitions(self._members(), self.engage.read("runs"))
        report.requests(self.sandbox.summary())
        report.beside(profile, {email: self.sandbox.user(email) for email in emails})
        report.timings(self.seconds)
        if not self.stay:
            report.next_steps()

    def _members(self) -> list[dict[str, Any]]:
        return sorted([*self.engage.read("audiences"), *self.engage.read("traits")], key=lambda each: str(each["key"]))

    @contextmanager
    def _step(self, title: str, command: str | None = None) -> Iterator[None]:
        report.heading(title, command)
        begun = time.monotonic()
        yield
        self.seconds[title.partition(":")[0]] = time.monotonic() - begun


@contextmanager
def prepared(folder: Path, arguments: argparse.Namespace) -> Iterator[Demo]:
    """A workspace of its own, and the stand-in running; both gone afterwards, and the embedded Postgres with them."""
    sandbox_port, port = _free_ports(2)
    workspace = folder / "workspace"
    shutil.copytree(HERE, workspace, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (workspace / ".env").write_text(
        f"SHOP_WRITE_KEY={WRITE_KEY}\nITERABLE_API_KEY=sandbox-key\n"
        f"ITERABLE_BASE_URL=http://127.0.0.1:{sandbox_port}\nENGAGE_SYNC_PORT={port}\n"
    )
    engage = CommandLine(workspace)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(engage.quietly, "down")
        url = f"http://127.0.0.1:{sandbox_port}"
        service = engage.start("sandbox", "--port", str(sandbox_port), answers=f"{url}/sandbox/summary")
        stack.callback(service.stop)
        sandbox = Sandbox(url)
        stack.callback(sandbox.close)
        yield Demo(
            workspace=workspace,
            households=arguments.households,
            hours=arguments.hours,
            stay=arguments.stay,
            engage=engage,
            sandbox=sandbox,
            api=f"http://127.0.0.1:{port}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--households", type=int, help="only so many households (default: all 2,469)")
    parser.add_argument("--hours", type=int, default=24, help="hourly increments (default: 24)")
    parser.add_argument("--stay", action="store_true", help="keep everything running afterwards, until Ctrl+C")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Readable for all: Postgres may have to run as another user than root.
    folder = Path(tempfile.mkdtemp(prefix="engage-sync-demo-"))
    folder.chmod(0o755)
    report.opening(folder)
    try:
        with prepared(folder, arguments) as demo:
            return 0 if demo.run() else 1
    except CommandFailed as failure:
        report.out.print(f"\n[red]{escape(str(failure))}[/red]")
        return 1
    except KeyboardInterrupt:
        report.out.print("\nStopped; everything is put away.")
        return 130


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    sys.exit(main())
