"""What the stand-in for Iterable holds, read back over HTTP."""

from __future__ import annotations

import time
from typing import Any

import httpx


class Sandbox:
    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/sandbox/", timeout=30)

    def close(self) -> None:
        self._http.close()

    def summary(self) -> dict[str, Any]:
        """Requests by path and status, and how many users and events there are."""
        return self._read("summary")

    def users(self) -> list[dict[str, Any]]:
        return list(self._read("users")["users"])

    def events(self) -> list[dict[str, Any]]:
        return list(self._read("events")["events"])

    def user(self, email: str) -> dict[str, Any]:
        """The fields of one user; none where there is no such user."""
        answer = self._http.get(f"users/{email}")
        return dict(answer.json()["user"]["dataFields"]) if answer.status_code == 200 else {}

    def requests_after(self, sequence: int, *, quiet: float, patience: float) -> list[dict[str, Any]]:
        """Requests above a sequence number: until some came, and then none for `quiet` seconds; `patience` in all."""
        deadline = time.monotonic() + patience
        found: list[dict[str, Any]] = []
        last_news = time.monotonic()
        while time.monotonic() < deadline and not (found and time.monotonic() - last_news > quiet):
            seen = list(self._read(f"requests?after={sequence}")["requests"])
            if len(seen) > len(found):
                last_news = time.monotonic()
            found = seen
            time.sleep(0.02)
        return found

    def _read(self, path: str) -> dict[str, Any]:
        answer = self._http.get(path)
        answer.raise_for_status()
        return dict(answer.json())
