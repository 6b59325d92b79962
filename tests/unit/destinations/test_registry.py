from __future__ import annotations

import pytest
from pydantic import SecretStr

from engage_sync import errors
from engage_sync.destinations import registry
from tests.unit.destinations.calls import Config, iterable


def test_destination_carries_key_address_and_budgets() -> None:
    settings = {"api_key": SecretStr("s3cret"), "base_url": SecretStr("https://api.eu.iterable.com/")}
    found = registry.build(Config(slug="eu", settings=settings, rate_limits={"track": 100}))
    assert (found.slug, found.base_url, found.headers["Api-Key"]) == ("eu", "https://api.eu.iterable.com", "s3cret")
    assert found.budgets == {
        "identify": 500,
        "track": 100,
        "identify_bulk": 5,
        "track_bulk": 10,
        "commerce": 500,
        "forget": 3,
        "other": 100,
        "read": 100,
    }
    assert "s3cret" not in repr(found)


def test_default_budgets_are_segments_rates() -> None:
    budgets = iterable().budgets
    assert (budgets["identify"], budgets["track"]) == (500, 2000)


def test_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(errors.UsageError, match="'iterble'; did you mean 'iterable'"):
        registry.build(Config(type="iterble"))


def test_type_unlike_any_other_names_them_all() -> None:
    with pytest.raises(errors.UsageError, match="'kafka'; known: iterable, segment, webhook"):
        registry.build(Config(type="kafka"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "setting 'api_key' is missing"),
        ({"api_key": " "}, "setting 'api_key': must not be empty"),
        ({"api_key": "a\nb"}, "setting 'api_key': must be printable ASCII, as it travels in a header"),
        ({"api_key": "k", "apikey": "x"}, "unknown setting 'apikey'; did you mean 'api_key'?"),
        ({"api_key": "k", "track_all_page": True}, "unknown setting 'track_all_page'; did you mean 'track_all_pages'?"),
        ({"api_key": "k", "bulk": "often"}, "setting 'bulk': Input should be 'never', 'backlog' or 'always'"),
        (
            {"api_key": "k", "base_url": "iterable"},
            "setting 'base_url': must be a URL such as https://api.iterable.com",
        ),
    ],
)
def test_problems_of_settings_are_named_without_their_values(settings: dict[str, object], problem: str) -> None:
    assert [sentence for _, sentence in registry.settings_problems("iterable", settings)] == [problem]
    with pytest.raises(errors.UsageError, match="destination 'iterable'"):
        registry.build(Config(settings=settings))


def test_a_setting_of_the_wrong_type_and_an_unknown_one_are_both_named() -> None:
    problems = registry.settings_problems("iterable", {"api_key": "k", "send_context": "perhaps", "zzz": 1})
    assert [name for name, _ in problems] == ["zzz", "send_context"]
    assert "perhaps" not in str(problems)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"identity": 5}, "unknown rate limit 'identity'; did you mean 'identify'?"),
        ({"track": 0}, "rate limit 'track' must be a number of requests a second above 0"),
        ({"track": True}, "rate limit 'track' must be a number of requests a second above 0"),
    ],
)
def test_problems_of_rate_limits_are_named(limits: dict[str, float], problem: str) -> None:
    assert registry.rate_limit_problems("iterable", limits) == [(*limits, problem)]
    with pytest.raises(errors.UsageError, match="rate limit"):
        registry.build(Config(rate_limits=limits))
