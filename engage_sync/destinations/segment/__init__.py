"""Segment, or whatever takes calls as its tracking API does: RudderStack, Jitsu, another engage-sync.

settings.py      what can be set
destination.py   a call → one POST to /v1/batch; an answer → an outcome
"""

from engage_sync.destinations.segment.destination import SegmentDestination
from engage_sync.destinations.segment.settings import DEFAULT_BUDGETS, SegmentSettings

__all__ = ["DEFAULT_BUDGETS", "SegmentDestination", "SegmentSettings"]
