"""What is told about wrong files: exact sentences at exact places, all files at once."""

# ruff: noqa: E501 - a sentence reads best whole, as it is told

from __future__ import annotations

from pathlib import Path

import pytest

from engage_sync import errors

from .test_workspace import ENGAGE, ENVIRONMENT, load


def problems(path: Path, files: dict[str, str]) -> list[str]:
    with pytest.raises(errors.WorkspaceInvalid) as raised:
        load(path, files)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty, expected keys such as name:"),
        ("# nothing\n", "1:1: the file is empty, expected keys such as name:"),
        ("- a\n", "1:1: found a list, expected keys such as name:"),
        ("name: a\n\tquery: b\n", "2:1: found a tab in the indentation, expected spaces"),
        ("name: a: b\n", "1:8: found a second ': ' on the line; expected text that holds one in quotes, or below the key after |"),
        ("name: a\n  query: b\n", "2:8: malformed YAML: mapping values are not allowed here"),
        ("name: [\n", "2:1: malformed YAML: expected the node content, but found '<stream end>'"),
        ("name: a\n---\nname: b\n", "2:1: found --- in the middle, expected one document in a file"),
        ("name: a\nquery: 5\n", "2:8: found a number, expected a text in quotes"),
        ("name: a\nquery: [x]\n", "2:8: found a list, expected a text"),
        ("name: a\nquery:\n", "2:1: missing key 'query'"),
        ("name: a\n", "1:1: missing key 'query'"),
        ("query: trait('x') = 1\n", "1:1: missing key 'name'"),
        ("name: a\nqery: x\nquery: trait('x') = 1\n", "2:1: unknown key 'qery'; did you mean 'query'?"),
        ("name: a\nname: b\nquery: trait('x') = 1\n", "2:1: found the key name twice, first on line 1"),
        ("name: a\nquery: trait('x') = 1\ntags: x\n", "3:7: found a text, expected a list"),
        ("name: a\nquery: trait('x') = 1\nenabled: maybe\n", "3:10: found a text, expected true or false"),
        ("name: a\nquery: trait('x') = 1\ntype: PEOPLE\n", "3:7: found 'PEOPLE', expected 'USERS' or 'ACCOUNTS'"),
        ("name: a\nquery: trait('x') = 1 AND ANY trait('x') = 1\n", "2:27: found ANY, which asks of the users of an account; expected it only in a definition with type: ACCOUNTS"),
        ("name: a\ntype: ACCOUNTS\nquery: ANY (NOT ALL (trait('x') = 1))\n", "3:17: found ALL, but ANY around it already asks of one user; leave one of them out"),
        ("name: a\ntype: ACCOUNTS\nquery: event('A').where(ANY (trait('x') = 1)).exists()\n", "3:25: found ANY, but where() asks of one event; put it around the whole comparison: ANY (event(…)…)"),
        ("name: a\nsql: SELECT 1\n", "2:1: an audience has a query; sql: makes a trait, in traits/"),
        ("name: a\nquery: trait('x') = 1\ncompute_cadence: daily\n", "3:18: found 'daily', expected hourly, realtime or a cron line such as \"0 * * * *\""),
        ("name: a\nquery: trait('x') = 1\ncompute_cadence: 99 * * * *\n", "3:18: found '99 * * * *', expected a cron line of five fields such as \"0 * * * *\""),
        ("name: a\nquery: trait('x') = 1\ninclude_historical_data: soon\n", "3:26: expected true, false or a number of days"),
        ("name: a\nquery: trait('x') = 1\nkey: Not A Key\n", "3:6: found 'Not A Key', expected lower-case letters, digits and underscores"),
        ("name: Email\nquery: trait('x') = 1\n", "1:7: the key 'email' is reserved; expected another key:"),
        ("name: '!!!'\nquery: trait('x') = 1\n", "1:7: found no letters (a-z) or digits to make a key of; add key:"),
        ("name: a ${NOPE}\nquery: trait('x') = 1\n", "1:9: NOPE is not in the environment; set it, or put it into .env"),
        ("name: a\nquery: trait('x') = 1\ndestinations: {iterabel: {identify: true}}\n", "3:16: unknown destination 'iterabel'; did you mean 'iterable'?"),
        ("name: a\nquery: trait('x') = 1\ndestinations: {iterable: {track: {enterd: x}}}\n", "3:35: unknown key 'enterd'; did you mean 'entered'?"),
        ("name: a\nquery: trait('x') = 1\ndestinations: {iterable: {track: {}}}\n", "3:34: expected true, false or {entered: Audience Entered, exited: Audience Exited}"),
        ("name: a\nquery: trait('x') = 1\ndestinations: {iterable: true}\n", "3:26: found true or false, expected keys and values"),
        ("name: a\nquery: event('A').withn(3 days).exists()\n", "2:19: unknown function 'withn'; did you mean 'within'?"),
        ("name: a\nquery: \"event(\\\"A\\\").withn(3 days).exists()\"\n", "2:22: unknown function 'withn'; did you mean 'within'?"),
        ("name: a\nquery: 'event(''A'').withn(3 days).exists()'\n", "2:22: unknown function 'withn'; did you mean 'within'?"),
        ("name: a\nquery: |\n  event('A')\n    .withn(3 days).exists()\n", "4:6: unknown function 'withn'; did you mean 'within'?"),
        ("name: a\nquery: >-\n  event('A')\n  .withn(3 days).exists()\n", "4:4: unknown function 'withn'; did you mean 'within'?"),
        ("name: a\nquery: event('A')\n  .withn(3 days).exists()\n", "3:4: unknown function 'withn'; did you mean 'within'?"),
    ],
)  # fmt: skip
def test_each_mistake_of_an_audience_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, {"audiences/a.yml": text}) == [f"audiences/a.yml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spce: {}\n", "1:1: unknown key 'spce'; did you mean 'space'?"),
        ("space: {slug: a b}\n", "1:15: found 'a b', expected letters, digits, - and _"),
        ("sources: {web: {}}\n", "1:11: the source 'web' needs a write_key"),
        ("sources: {web: {write_key: a, secret: b}}\n", "1:31: a source of type segment has no secret, but a write_key"),
        ("sources: {web: {type: iterable}}\n", "1:11: the source 'web' needs a secret"),
        ("sources: {web: {type: iterble}}\n", "1:23: found 'iterble', expected 'segment' or 'iterable'"),
        ("sources: {a: {write_key: k}, b: {write_key: k}}\n", "1:45: the sources 'a' and 'b' have the same write_key"),
        ("sources: {web: {write_key: \"${NOPE}\"}}\n", "1:29: NOPE is not in the environment; set it, or put it into .env"),
        ("sources: {web: {write_key: \"${}\"}}\n", "1:29: found ${}, expected ${NAME}, or $${ for the plain characters"),
        ("sources: {web: {write_key: 12345}}\n", "1:28: found a number, expected a text in quotes"),
        ("destinations: {i: {}}\n", "1:16: missing key 'type'"),
        ("destinations: {i: {type: iterable, rate_limits: {identify: 0}}}\n", "1:60: expected a number above 0"),
        ("destinations: {i: {type: iterable, rate_limits: {identify: fast}}}\n", "1:60: found a text, expected a number"),
        ("destinations: {i: {type: iterable, connected_sources: [web]}}\n", "1:56: unknown source 'web'"),
        (
            "sources: {back: {type: iterable, secret: s}}\ndestinations: {i: {type: iterable, connected_sources: [back]}}\n",
            "2:56: what Iterable tells never goes back to it; take 'back' out of connected_sources",
        ),
        ("schedule: {lookback: hourly}\n", "1:22: found 'hourly', expected a cron line of five fields such as \"0 * * * *\""),
        ("guard: {max_change: 50}\n", "1:21: expected a share such as 50%, or off"),
        ("guard: {silence: soon}\n", "1:18: expected a time such as 6 hours, at most 7 days, or off"),
        ("limits: {email: -1}\n", "1:17: expected a number of at least 0"),
    ],
)  # fmt: skip
def test_each_mistake_of_engage_yml_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, {"engage.yml": text}) == [f"engage.yml:{expected}"]


def test_all_files_are_told_of_at_once_in_their_order(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "engage.yml": ENGAGE + "shedule: {}\n",
            "traits/b.yml": "name: b\nquery: event('A').cuont()\n",
            "audiences/a.yml": "name: 5\nquery: event('A').exists() and foo\n",
        },
    )
    assert found == [
        "engage.yml:6:1: unknown key 'shedule'; did you mean 'schedule'?",
        "audiences/a.yml:1:7: found a number, expected a text in quotes",
        "audiences/a.yml:2:28: found 'and', expected AND: junction words are upper case",
        "audiences/a.yml:2:32: found foo, expected a function such as trait('foo') or a text in quotes",
        "traits/b.yml:2:19: unknown function 'cuont'; did you mean 'count'?",
    ]


def test_one_mistake_in_engage_yml_hides_no_other(tmp_path: Path) -> None:
    engage = """
sources:
  bad: {type: nothing}
  one: {write_key: k}
  two: {write_key: k}
  hooks: {type: iterable}
destinations:
  first: {type: iterable, rate_limits: {track: fast}}
  second: {type: iterable, connected_sources: [bad, on]}
"""
    assert problems(tmp_path, {"engage.yml": engage}) == [
        "engage.yml:3:15: found 'nothing', expected 'segment' or 'iterable'",
        "engage.yml:5:20: the sources 'one' and 'two' have the same write_key",
        "engage.yml:6:3: the source 'hooks' needs a secret",
        "engage.yml:8:48: found a text, expected a number",
        "engage.yml:9:53: unknown source 'on'; did you mean 'one'?",
    ]


def test_audiences_and_traits_share_one_name_space(tmp_path: Path) -> None:
    files = {
        "audiences/a.yml": "name: X\nquery: trait('y') = 1\n",
        "traits/b.yml": "key: x\nname: b\nquery: trait('y')\n",
    }
    assert problems(tmp_path, files) == [
        "traits/b.yml:1:6: the key 'x' of traits/b.yml is taken by audiences/a.yml; give one of them another key:"
    ]


def test_a_cycle_is_named_where_it_begins(tmp_path: Path) -> None:
    files = {
        "audiences/a.yml": "name: a\nquery: |\n  trait('free') = 1\n  AND trait('b') = 1\n",
        "audiences/b.yml": "name: b\nquery: trait('c') > 1\n",
        "traits/c.yml": "name: c\nquery: trait('a')\n",
        "traits/self.yml": "name: self\nquery: trait('self')\n",
    }
    assert problems(tmp_path, files) == [
        "audiences/a.yml:4:7: definitions refer to each other in a cycle: a → b → c → a",
        "traits/self.yml:2:8: definitions refer to each other in a cycle: self → self",
    ]


def test_a_folder_without_engage_yml_says_what_to_do(tmp_path: Path) -> None:
    from engage_sync.definitions.workspace import load_workspace

    with pytest.raises(errors.WorkspaceInvalid) as raised:
        load_workspace(tmp_path, ENVIRONMENT)
    expected = f"engage.yml:1:1: there is no engage.yml in {tmp_path}; make a workspace with engage-sync init"
    assert str(raised.value) == expected


def test_bytes_that_are_no_utf_8_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "traits").mkdir()
    (tmp_path / "traits/a.yml").write_bytes(b"name: a\nquery: \xff\n")
    assert problems(tmp_path, {}) == ["traits/a.yml:2:8: found a byte that isn't UTF-8"]


def test_aliases_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 25))
    found = problems(tmp_path, {"traits/a.yml": bomb})
    assert any("found too much: keys nested too deep, or aliases without end" in problem for problem in found)


def test_no_problem_shows_a_secret(tmp_path: Path) -> None:
    found = problems(tmp_path, {"engage.yml": "sources: {a: {write_key: [s3cret]}, b: {secret: s3cret}}\n"})
    assert found
    assert not any("s3cret" in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\n", "1:1: missing key 'query' or 'sql'"),
        ("name: a\nquery: event('A').count()\nsql: SELECT 1\n", "3:1: found both query and sql, expected one of them"),
        ("name: a\nsql: DELETE FROM x\n", "2:6: found 'DELETE', expected SELECT, WITH, VALUES or TABLE"),
        ("name: a\nsql: |\n  SELECT 1;\n  -- end\n  SELECT 2\n", "5:3: found a second statement, expected one SELECT"),
        ("name: a\nsql: SELECT 1\ncompute_cadence: realtime\n", "3:18: an SQL trait is read on a schedule; expected hourly or a cron line"),
        ("name: a\nsql: SELECT 1\ninclude_historical_data: false\n", "3:1: an SQL trait says in its sql which history it reads"),
    ],
)  # fmt: skip
def test_each_mistake_of_a_trait_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, {"traits/a.yml": text}) == [f"traits/a.yml:{expected}"]


def test_what_a_definition_says_is_said_of_people_and_not_of_accounts(tmp_path: Path) -> None:
    files = {
        "audiences/a.yml": "name: a\nquery: trait('x') = 1\n",
        "audiences/b.yml": "name: b\ntype: ACCOUNTS\nquery: ANY (trait('a') = 'true') AND trait('a') = 'true'\n",
    }
    assert problems(tmp_path, files) == [
        "audiences/b.yml:3:38: found trait('a'), which is a definition, and says something of people; here trait() is"
        " the account's: put it inside ANY (…) or ALL (…)"
    ]


def test_an_sql_trait_has_rows_of_people(tmp_path: Path) -> None:
    files = {"traits/a.yml": "name: a\ntype: ACCOUNTS\nsql: SELECT user_id, x FROM y\n"}
    assert problems(tmp_path, files) == ["traits/a.yml:2:7: an SQL trait has rows of people; expected type: USERS"]
