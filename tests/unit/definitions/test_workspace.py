"""What a workspace's files become."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from engage_sync.definitions import language
from engage_sync.definitions.example import write_example
from engage_sync.definitions.model import (
    DEFAULT_GUARD,
    DefinitionSpec,
    Guard,
    Source,
    Space,
    Tells,
    TrackNames,
    Workspace,
)
from engage_sync.definitions.workspace import load_workspace

ENVIRONMENT = {"WEB_WRITE_KEY": "wk", "ITERABLE_API_KEY": "ik"}
ENGAGE = """
sources:
  web: {write_key: "${WEB_WRITE_KEY}"}
destinations:
  iterable: {type: iterable, settings: {api_key: "${ITERABLE_API_KEY}", bulk: never}}
"""


def write(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    return path


def load(path: Path, files: dict[str, str], environment: dict[str, str] | None = None) -> Workspace:
    return load_workspace(write(path, {"engage.yml": ENGAGE} | files), environment or ENVIRONMENT)


def test_the_example_loads_as_it_stands(tmp_path: Path) -> None:
    written = write_example(tmp_path / "new", "wk", "token", "key")
    workspace = load_workspace(tmp_path / "new", ENVIRONMENT)
    assert [path.relative_to(tmp_path / "new").as_posix() for path in written] == [
        "engage.yml",
        "audiences/order_completed_last_30days.yml",
        "traits/total_spent_90d.yml",
        "tests/buyers.yml",
        ".env",
        ".gitignore",
    ]
    assert [definition.key for definition in workspace.definitions] == [
        "order_completed_last_30days",
        "total_spent_90d",
    ]
    assert workspace.warnings == ()
    assert workspace.space == Space(slug="default", name="Default")
    assert workspace.destinations[0].settings["base_url"] == "http://127.0.0.1:8091"
    assert workspace.destinations[0].rate_limits == {"identify": 500.0, "track": 2000.0}
    assert workspace.schedule.lookback == "0 * * * *"


def test_an_audience_says_all_of_its_file(tmp_path: Path) -> None:
    workspace = load(
        tmp_path,
        {
            "audiences/big.yml": "name: Big Spenders!\ndescription: they buy\nquery: trait('spent') > 100\n"
            "include_anonymous: true\nenabled: false\ncompute_cadence: hourly\nowner: ann\ntags: [a, b]\n"
            "destinations:\n  iterable: {identify: true, track: {entered: Got Big}}\n"
        },
    )
    assert workspace.definitions == (
        DefinitionSpec(
            kind="audience",
            key="big_spenders",
            name="Big Spenders!",
            description="they buy",
            query="trait('spent') > 100",
            tree=language.parse("trait('spent') > 100", kind="audience"),
            include_anonymous=True,
            enabled=False,
            compute_cadence="hourly",
            owner="ann",
            tags=("a", "b"),
            destinations={"iterable": Tells(identify=True, track=TrackNames(entered="Got Big"))},
        ),
    )
    assert workspace.definitions[0].file == "audiences/big.yml"
    assert workspace.definitions[0].position == language.Position(3, 8)


def test_track_true_has_the_usual_names(tmp_path: Path) -> None:
    workspace = load(
        tmp_path,
        {
            "audiences/a.yml": "name: a\nquery: trait('x') = 1\ndestinations: {iterable: {track: true}}\n",
            "traits/b.yaml": "name: b\nquery: trait('x')\ndestinations: {iterable: {track: true}}\n",
            "traits/c.yml": "name: c\nquery: trait('x')\ndestinations: {iterable: {track: false}}\n",
        },
    )
    assert [definition.destinations["iterable"].track for definition in workspace.definitions] == [
        TrackNames(entered="Audience Entered", exited="Audience Exited"),
        TrackNames(computed="Trait Computed"),
        None,
    ]


def test_a_document_gives_the_definition_again_and_tells_no_file(tmp_path: Path) -> None:
    workspace = load(
        tmp_path,
        {
            "audiences/a.yml": "name: a\nquery: trait('x') = 1\nguard: {max_change: 50%, silence: 6 hours}\n"
            "destinations: {iterable: {track: true}}\n",
            "traits/b.yml": "name: b\nquery: event('A').count()\ninclude_historical_data: 30\non_delete: sweep\n",
        },
    )
    for definition in workspace.definitions:
        document = definition.document()
        assert "file" not in document
        assert DefinitionSpec.from_document(document, definition.kind) == definition


def test_no_secret_is_in_any_text_of_a_workspace(tmp_path: Path) -> None:
    environment = {"WEB_WRITE_KEY": "secret-one", "ITERABLE_API_KEY": "secret-two"}
    workspace = load(tmp_path, {}, environment)
    assert "secret-" not in repr(workspace)
    write_key = workspace.sources[0].write_key
    assert write_key is not None
    assert write_key.get_secret_value() == "secret-one"
    assert workspace.destinations[0].settings["api_key"].get_secret_value() == "secret-two"
    assert workspace.destinations[0].settings["bulk"] == "never"


def test_an_iterable_source_has_a_secret(tmp_path: Path) -> None:
    workspace = load_workspace(
        write(tmp_path, {"engage.yml": "sources: {back: {type: iterable, secret: s}}\nlimits: {email: 1}\n"}), {}
    )
    assert [(source.slug, source.type, source.write_key) for source in workspace.sources] == [
        ("back", "iterable", None)
    ]
    assert isinstance(workspace.sources[0], Source)
    assert (workspace.limit("user_id"), workspace.limit("email"), workspace.limit("phone")) == (1, 1, 5)


def test_what_iterable_tells_may_go_to_other_destinations(tmp_path: Path) -> None:
    engage = (
        "sources: {back: {type: iterable, secret: s}}\n"
        "destinations: {other: {type: webhook, connected_sources: [back]}}\n"
    )
    (destination,) = load_workspace(write(tmp_path, {"engage.yml": engage}), {}).destinations
    assert destination.connected_sources == ("back",)


def test_a_dollar_can_be_written(tmp_path: Path) -> None:
    workspace = load(tmp_path, {"traits/a.yml": 'name: a\ndescription: "$${X} ${X} $5"\nquery: trait(\'x\')\n'}, {
        **ENVIRONMENT,
        "X": "y",
    })  # fmt: skip
    assert workspace.definitions[0].description == "${X} y $5"


def test_lookback_goes_through_references(tmp_path: Path) -> None:
    workspace = load(
        tmp_path,
        {
            "audiences/1.yml": "name: top\nquery: trait('middle') = 'true'\n",
            "audiences/2.yml": "name: middle\nquery: trait('bottom') > 1\n",
            "audiences/3.yml": "name: other\nquery: trait('custom') > 1\n",
            "traits/4.yml": "name: bottom\nquery: event('A').within(3 days).count()\n",
        },
    )
    assert workspace.lookback_keys() == {"top", "middle", "bottom"}


def test_what_a_guard_leaves_open_the_workspace_says_and_else_the_default(tmp_path: Path) -> None:
    workspace = load(
        tmp_path,
        {
            "engage.yml": "guard: {max_change: 12.5%, from_members: 10}\n",
            "traits/a.yml": "name: a\nquery: trait('x')\nguard: {max_change: off, from_members: 0}\n",
            "traits/b.yml": "name: b\nquery: trait('x')\nguard: off\n",
            "traits/c.yml": "name: c\nquery: trait('x')\nguard: {silence: off}\n",
        },
    )
    assert workspace.warnings == ()
    assert workspace.guard == Guard(max_change=0.125, from_members=10)
    whole = workspace.guard.over(DEFAULT_GUARD)
    six = datetime.timedelta(hours=6)
    assert whole == Guard(max_change=0.125, from_members=10, silence=six)
    assert [each.guard.over(whole) for each in workspace.definitions if each.guard] == [
        Guard(max_change="off", from_members=0, silence=six),
        Guard(max_change="off", from_members=10, silence="off"),
        Guard(max_change=0.125, from_members=10, silence="off"),
    ]
    for definition in workspace.definitions:
        assert DefinitionSpec.from_document(definition.document(), definition.kind) == definition


def test_a_destination_that_is_told_nothing_is_a_warning(tmp_path: Path) -> None:
    told = "destinations:\n  iterable: {track: false}\n"
    workspace = load(tmp_path, {"traits/a.yml": f"name: a\nquery: trait('x')\n{told}"})
    assert [str(warning) for warning in workspace.warnings] == [
        "traits/a.yml:4:3: 'iterable' is told nothing; expected identify: true or track: true"
    ]


@pytest.mark.parametrize(("text", "hours"), [("6 hours", 6), ("1 day", 24)])
def test_a_guard_knows_its_silence(tmp_path: Path, text: str, hours: int) -> None:
    workspace = load(tmp_path, {"engage.yml": f"guard: {{silence: {text}}}\n"})
    assert workspace.guard == Guard(silence=datetime.timedelta(hours=hours))


def test_a_definition_of_accounts_keeps_its_type(tmp_path: Path) -> None:
    query = "trait('plan') = 'gold' AND ANY (trait('plan') = 'admin')"
    workspace = load(tmp_path, {"audiences/a.yml": f"name: a\ntype: ACCOUNTS\nquery: {query}\n"})
    (spec,) = workspace.definitions
    of_account, of_user = (node for node in language.walk(spec.tree) if isinstance(node, language.tree.TraitRef))
    assert (of_account.of_account, of_user.of_account) == (True, False)
    text = language.describe(spec.tree)
    assert language.parse(text, kind="audience", of_accounts=True) == spec.tree
    stored = DefinitionSpec.from_document(spec.document(), "audience")
    assert stored.of_accounts
    assert stored.computes_like(spec)


def test_a_definition_of_people_is_told_apart_from_one_of_accounts(tmp_path: Path) -> None:
    query = "event('A').exists()"
    workspace = load(
        tmp_path,
        {
            "audiences/a.yml": f"name: a\nquery: {query}\n",
            "audiences/b.yml": f"name: b\ntype: ACCOUNTS\nquery: {query}\n",
        },
    )
    people, accounts = workspace.definitions
    assert (people.document()["type"], accounts.document()["type"]) == ("USERS", "ACCOUNTS")
    assert not people.computes_like(accounts)
