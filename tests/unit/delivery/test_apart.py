from __future__ import annotations

from engage_sync.delivery.apart import Apart
from engage_sync.outbox.outages import FIRST_PAUSE, LONGEST_PAUSE


def test_it_tries_again_after_pauses_that_grow() -> None:
    apart = Apart()
    assert not apart
    apart.begin(100.0)
    apart.begin(101.0)
    assert apart
    pauses, now = [], 100.0
    for _ in range(7):
        before = now
        while not apart.is_due(now):
            now += 0.5
        pauses.append(now - before)
        apart.probed(now)
    assert pauses == [FIRST_PAUSE, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE]


def test_that_it_is_alone_is_news_once_and_its_end_too() -> None:
    apart = Apart()
    apart.begin(0.0)
    assert apart.end(3.0) is None, "all were held"
    apart.begin(10.0)
    assert [apart.is_alone(), apart.is_alone()] == [True, False]
    assert apart.end(17.0) == 7.0
    assert not apart
    apart.begin(20.0)
    assert apart.is_alone()
