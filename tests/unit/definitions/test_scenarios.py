"""Tests of a workspace as files: what they become, and each mistake with its sentence and place."""

# ruff: noqa: E501 - a sentence reads best whole, as it is told

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engage_sync import errors
from engage_sync.definitions.example import write_example
from engage_sync.definitions.scenarios import Scenario, Told, load_with_scenarios

from .test_workspace import ENGAGE, ENVIRONMENT, write

FILES = {
    "engage.yml": ENGAGE,
    "audiences/bought.yml": "name: Bought\nquery: event('Order Completed').within(30 days).count() >= 1\n",
    "audiences/off.yml": "name: Off\nenabled: false\nquery: event('Order Completed').count() >= 1\n",
    "traits/spent.yml": "name: Spent\nquery: event('Order Completed').sum(property('total'))\n",
}
HEAD = "name: t\ngiven: [{type: track, event: E, userId: u1}]\nthen:\n- at: 2026-01-01\n  "


def load(path: Path, text: str, more: dict[str, str] | None = None) -> tuple[Scenario, ...]:
    return load_with_scenarios(write(path, {**FILES, "tests/t.yml": text, **(more or {})}), ENVIRONMENT)[1]


def problems(path: Path, text: str, more: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(errors.WorkspaceInvalid) as raised:
        load(path, text, more)
    return [str(problem) for problem in raised.value.problems]


def test_a_test_says_all_of_its_file(tmp_path: Path) -> None:
    (scenario,) = load(
        tmp_path,
        """
name: Buyers
given:
  - {type: identify, userId: 7, traits: {email: Ann@Example.com}, timestamp: 2026-01-01T09:00:00+01:00}
  - {type: track, anonymousId: a1, event: Order Completed, messageId: mine, source: web}
then:
  - at: 2026-01-02
    in: {bought: 7}
    out: {bought: [anonymous_id:a1, ann@example.com]}
    members: {bought: [user_id:7]}
    values: {spent: {7: 20.5, a1: null}}
    messages: {spent: {email:ann@example.com: {identify: null, track: [A, B]}, 7: nothing}}
  - calls: [{type: track, userId: a1, event: Order Completed}]
    at: 2026-01-02
""".replace("a1: null", "ann@example.com: null"),
    )
    assert (scenario.name, scenario.file, scenario.position.line) == ("Buyers", "tests/t.yml", 2)
    assert scenario.keys == ["bought", "spent"]
    first, second = scenario.steps
    assert first.at == second.at == datetime(2026, 1, 2, tzinfo=UTC)
    assert [(call.source, call.body["messageId"], call.body["timestamp"]) for call in first.calls] == [
        ("web", "given.0", "2026-01-01T09:00:00+01:00"),
        ("web", "mine", "2026-01-02T00:00:00+00:00"),
    ]
    assert [call.body["userId"] for call in (first.calls[0], second.calls[0])] == ["7", "a1"]
    ann, seven, anonymous = ("email", "ann@example.com"), ("user_id", "7"), ("anonymous_id", "a1")
    assert [(check.kind, check.key, check.people, check.expected) for check in first.checks] == [
        ("in", "bought", (seven,), True),
        ("out", "bought", (anonymous,), False),
        ("out", "bought", (ann,), False),
        ("members", "bought", (seven,), True),
        ("values", "spent", (seven,), 20.5),
        ("values", "spent", (ann,), None),
        ("messages", "spent", (ann,), Told(is_identified=True, identify=None, track=("A", "B"))),
        ("messages", "spent", (seven,), Told()),
    ]
    assert [(check.position.line, check.position.column) for check in first.checks[:3]] == [(8, 18), (9, 20), (9, 37)]


def test_tests_of_one_file_share_what_is_given(tmp_path: Path) -> None:
    both = load(
        tmp_path,
        """
given: [{type: track, userId: u1, event: E}]
tests:
  - {name: one, then: [{at: 2026-01-01, in: {bought: u1}}]}
  - {name: two, given: [{type: track, userId: u2, event: E}], then: [{at: 2026-01-01, in: {bought: [u1, u2]}}]}
""",
    )
    assert [[call.body["userId"] for call in each.steps[0].calls] for each in both] == [["u1"], ["u1", "u2"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: t\n", "1:1: missing key 'then'"),
        ("given: []\n", "1:1: found no test, expected name: and then:, or several tests under tests:"),
        ("tests: []\n", "1:8: found no test, expected at least one with name: and then:"),
        ("name: t\ntests: [{name: a, then: [{at: 2026-01-01, members: {bought: []}}]}]\n", "1:1: found name: beside tests:, expected it within each of the tests"),
        ("name: t\nthen: []\n", "2:7: found no step, expected at least one with at:"),
        ("name: t\nthen: [{at: 2026-01-01}]\n", "2:7: checks nothing, expected in, out, members, values or messages in a step"),
        ("name: t\nthen: [{in: {}}]\n", "2:8: missing key 'at'"),
        ("name: t\nthen: [{at: soon}]\n", "2:13: expected an instant such as 2026-01-31T12:00:00Z"),
        ("name: t\nthen: [{at: 1969-01-01}]\n", "2:13: expected an instant between 1970 and 2200"),
        ("name: t\nthen: [{at: 2026-01-01, inn: {}}]\n", "2:25: unknown key 'inn'; did you mean 'in'?"),
        (HEAD + "in: {bougth: u1}\n", "5:8: unknown definition 'bougth'; did you mean 'bought'?"),
        (HEAD + "in: {off: u1}\n", "5:8: 'off' is disabled (enabled: false), so that nobody is in it"),
        (HEAD + "values: {bought: {u1: true}}\n", "5:12: 'bought' is an audience; expected it under in: or out:"),
        (HEAD + "out: {bought: [u1, u11]}\n", "5:22: no call up to this step names 'user_id:u11'; did you mean 'user_id:u1'?"),
        (HEAD + "out: {bought: [email:ann@example.com]}\n", "5:18: no call up to this step names 'email:ann@example.com'"),
        (HEAD + "out: {bought: [2.5]}\n", "5:18: found a number, expected a text in quotes"),
        (HEAD + "messages: {spent: {u1: {identfy: 1}}}\n", "5:27: unknown key 'identfy'; did you mean 'identify'?"),
        (HEAD + "in: {bought: u1}\n- {at: 2025-12-31, in: {bought: u1}}\n", "6:8: found an instant before that of the step above, 2026-01-01T00:00:00+00:00"),
        (HEAD + "in: {bought: u1}\n- {at: 2026-02-01, in: {bought: u2}, calls: [{type: trak, userId: u2}]}\n", "6:53: found 'trak', expected 'identify', 'track', 'page', 'screen', 'group' or 'alias'"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [f"tests/t.yml:{expected}"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("{type: track, userId: u1}", "2:10: event: expected the event's name, a string that isn't empty, got nothing"),
        ("{type: track, event: E}", "2:10: userId: expected a userId, an anonymousId, an email in traits or context.traits, or context.externalIds"),
        ("{type: track, event: E, userId: 'null'}", "2:42: userId: no usable identifier (missing, or a value that stands for nobody)"),
        ("{type: track, event: E, userId: u1, timestamp: today}", "2:57: timestamp: expected an ISO 8601 date-time or a Unix time"),
        ("{type: track, event: E, userId: u1, timestamp: 1960-01-01}", "2:57: timestamp: expected one between 1970 and 2200"),
        ("{type: track, event: E, userId: u1, propertes: {}}", "2:46: unknown key 'propertes'; did you mean 'properties'?"),
        ("{type: track, event: E, userId: u1, source: webb}", "2:54: unknown source 'webb'; did you mean 'web'?"),
        ("{type: track, event: E, userId: u1, properties: {a: " + "x" * 33_000 + "}}", "2:10: call: larger than 32768 bytes"),
    ],
)  # fmt: skip
def test_a_call_that_could_not_be_stored_is_told_of(tmp_path: Path, call: str, expected: str) -> None:
    found = problems(tmp_path, f"name: t\ngiven:  [{call}]\nthen: [{{at: 2026-01-01, members: {{bought: []}}}}]\n")
    assert found == [f"tests/t.yml:{expected}"]


def test_mistakes_of_definitions_and_of_tests_are_told_together(tmp_path: Path) -> None:
    more = {
        "audiences/bought.yml": "name: Bought\nquery: event('A').cuont() >= 1\n",
        "tests/other.yml": "nmae: t\n",
    }
    assert problems(tmp_path, HEAD + "in: {bought: u1}\n", more) == [
        "audiences/bought.yml:2:19: unknown function 'cuont'; did you mean 'count'?",
        "tests/other.yml:1:1: unknown key 'nmae'; did you mean 'name'?",
    ]


def test_a_definition_whose_file_cant_be_read_is_not_called_unknown(tmp_path: Path) -> None:
    more = {"audiences/bought.yml": "name: Bought\nquery: sources(exclude: 'a')\n"}
    (found,) = problems(tmp_path, HEAD + "in: {bought: u1}\n", more)
    assert found.startswith("audiences/bought.yml:2:23: found a second ': ' on the line")


def test_a_name_is_given_once_a_file(tmp_path: Path) -> None:
    test = "- {name: a, then: [{at: 2026-01-01, members: {bought: []}}]}\n"
    assert problems(tmp_path, "tests:\n" + test * 2) == [
        "tests/t.yml:3:10: found the name of the test on line 2 again, expected another one"
    ]


def test_secrets_may_be_missing_but_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "tests/t.yml": HEAD + "in: {bought: u1}\n"})
    with pytest.raises(errors.WorkspaceInvalid, match="WEB_WRITE_KEY is not in the environment"):
        load_with_scenarios(tmp_path, {})
    workspace, scenarios = load_with_scenarios(tmp_path, {}, without_secrets=True)
    assert [source.slug for source in workspace.sources] == ["web"]
    assert len(scenarios) == 1
    write(tmp_path, {"audiences/bought.yml": "name: Bought\nquery: event('${EVENT}').count() >= 1\n"})
    with pytest.raises(errors.WorkspaceInvalid, match=r"^audiences/bought.yml:2:15: EVENT is not in the environment"):
        load_with_scenarios(tmp_path, {}, without_secrets=True)


def test_the_example_has_a_test(tmp_path: Path) -> None:
    write_example(tmp_path, "wk", "token", "key")
    _, (scenario,) = load_with_scenarios(tmp_path, ENVIRONMENT)
    assert scenario.keys == ["order_completed_last_30days", "total_spent_90d"]
