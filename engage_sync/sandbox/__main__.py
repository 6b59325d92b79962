"""`python -m engage_sync.sandbox`: the stand-in on a port of its own."""

from __future__ import annotations

import argparse
import sys

from engage_sync.sandbox.options import BULK_UPDATE, EVENTS_TRACK, TRACK_BULK, USERS_UPDATE, Options
from engage_sync.sandbox.server import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engage_sync.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--api-key", default="sandbox-key", help="the only key it takes")
    parser.add_argument("--project-type", choices=["email", "user_id", "hybrid"], default="email")
    parser.add_argument("--identify-rate", type=float, default=500, help="users/update a second; 0 = no limit")
    parser.add_argument("--track-rate", type=float, default=2000, help="events/track a second; 0 = no limit")
    parser.add_argument("--bulk-update-rate", type=float, default=5, help="users/bulkUpdate a second; 0 = no limit")
    parser.add_argument("--track-bulk-rate", type=float, default=10, help="events/trackBulk a second; 0 = no limit")
    parser.add_argument("--loose-dates", action="store_true", help="take ISO 8601 date-times as text")
    parser.add_argument("--loose-numbers", action="store_true", help="take whole numbers in fields of doubles")
    parser.add_argument("--disallow-event", action="append", default=[], help="an event that the project refuses")
    parser.add_argument("--record-limit", type=int, default=1_000_000, help="how many requests to remember")
    arguments = parser.parse_args()
    options = Options(
        api_key=arguments.api_key,
        project_type=arguments.project_type,
        rate_limits={
            USERS_UPDATE: arguments.identify_rate,
            EVENTS_TRACK: arguments.track_rate,
            BULK_UPDATE: arguments.bulk_update_rate,
            TRACK_BULK: arguments.track_bulk_rate,
        },
        strict_dates=not arguments.loose_dates,
        strict_numbers=not arguments.loose_numbers,
        disallowed_events=frozenset(arguments.disallow_event),
        record_limit=arguments.record_limit,
    )
    sys.stderr.write(f"The Iterable stand-in listens on http://{arguments.host}:{arguments.port}\n")
    run(arguments.host, arguments.port, options)


if __name__ == "__main__":
    main()
