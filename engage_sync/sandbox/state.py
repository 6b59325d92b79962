"""All that a running sandbox holds."""

from __future__ import annotations

from aiohttp import web

from engage_sync.sandbox.faults import Faults
from engage_sync.sandbox.limits import RateLimits
from engage_sync.sandbox.options import Options
from engage_sync.sandbox.project import Project
from engage_sync.sandbox.records import Records


class State:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.faults = Faults(options.seed)
        self.limits = RateLimits(options.rate_limits)
        self.clear_data()

    def clear_data(self) -> None:
        self.project = Project(self.options)
        self.records = Records(self.options.record_limit)


STATE: web.AppKey[State] = web.AppKey("sandbox_state", State)
