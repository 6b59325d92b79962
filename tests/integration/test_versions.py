"""Definitions as the database keeps them: what applying says, does, and refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.database import locks
from engage_sync.definitions import language, versions
from engage_sync.definitions.model import DefinitionSpec, Guard, Tells, TrackNames
from engage_sync.definitions.versions import Action

BOUGHT = "event('Order Completed').within(30 days).count() >= 1"


def audience(key: str, query: str = BOUGHT, **options: Any) -> DefinitionSpec:
    tree = language.parse(query, kind="audience")
    given = {"name": key, "file": f"audiences/{key}.yml", **options}
    return DefinitionSpec(kind="audience", key=key, query=query, tree=tree, **given)


def trait(key: str, query: str = "event('Order Completed').count()", **options: Any) -> DefinitionSpec:
    tree = language.parse(query, kind="computed_trait")
    given = {"name": key, "file": f"traits/{key}.yml", **options}
    return DefinitionSpec(kind="computed_trait", key=key, query=query, tree=tree, **given)


def apply(engine: Engine, *specs: DefinitionSpec, delete: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    with engine.begin() as connection:
        return [(action.kind, action.key) for action in versions.apply(connection, specs, delete=delete)]


def stored(engine: Engine, **options: bool) -> list[versions.StoredDefinition]:
    with engine.connect() as connection:
        return versions.load(connection, **options)


def kept_versions(engine: Engine, key: str) -> list[int]:
    statement = text(
        "SELECT definition_versions.version FROM definition_versions JOIN definitions ON definitions.id = definition_id"
        " WHERE key = :key ORDER BY 1"
    )
    with engine.connect() as connection:
        return list(connection.execute(statement, {"key": key}).scalars())


def test_new_definitions_are_created_with_ids_of_their_kind(engine: Engine) -> None:
    assert apply(engine, audience("buyers"), trait("orders")) == [("create", "buyers"), ("create", "orders")]
    buyers, orders = stored(engine)
    assert (buyers.kind, buyers.key, buyers.version, buyers.enabled) == ("audience", "buyers", 1, True)
    assert (orders.kind, orders.key, orders.version, orders.enabled) == ("computed_trait", "orders", 1, True)
    assert re.fullmatch(r"aud_[A-Za-z0-9]{24}", buyers.public_id)
    assert re.fullmatch(r"tra_[A-Za-z0-9]{24}", orders.public_id)


def test_a_definition_comes_back_as_it_went_in(engine: Engine) -> None:
    names = TrackNames(entered="In", exited=None)
    spec = audience(
        "buyers",
        name="Buyers – all of them",
        description="Bought\nin the last 30 days",
        include_anonymous=True,
        destinations={"iterable": Tells(identify=True, track=names), "warehouse": Tells(track=names)},
        compute_cadence="*/5 * * * *",
        include_historical_data=30,
        guard=Guard(max_change=0.5, from_members=1000),
        on_delete="sweep",
        owner="growth",
        tags=("a", "b"),
    )
    apply(engine, spec)
    (found,) = stored(engine)
    assert found.spec == spec
    assert found.spec.file == found.file == "audiences/buyers.yml"


def test_planning_says_what_applying_does_and_changes_nothing(engine: Engine) -> None:
    apply(engine, audience("same"), audience("changed"), audience("gone"))
    wanted = [audience("same"), audience("changed", owner="growth", name="Changed"), audience("new")]
    with engine.begin() as connection:
        planned = versions.plan(connection, wanted)
        assert planned == versions.plan(connection, wanted)
        assert versions.apply(connection, wanted) == planned
    assert planned == [
        Action(kind="unchanged", key="same", definition_kind="audience"),
        Action(kind="update", key="changed", definition_kind="audience", changed=("name", "owner")),
        Action(kind="create", key="new", definition_kind="audience"),
        Action(kind="missing", key="gone", definition_kind="audience"),
    ]
    assert {found.key: found.version for found in stored(engine)} == {"same": 1, "changed": 2, "gone": 1, "new": 1}


def test_a_change_makes_a_version_and_keeps_the_ones_before(engine: Engine) -> None:
    apply(engine, audience("buyers"))
    (before,) = stored(engine)
    changed = audience("buyers", "event('Order Completed').within(60 days).count() >= 1")
    assert apply(engine, changed) == [("update", "buyers")]
    assert apply(engine, changed) == [("unchanged", "buyers")]
    (after,) = stored(engine)
    assert (after.id, after.public_id, after.version, after.spec) == (before.id, before.public_id, 2, changed)
    assert kept_versions(engine, "buyers") == [1, 2]


def test_a_moved_file_is_an_update_without_a_new_version(engine: Engine) -> None:
    apply(engine, audience("buyers"))
    moved = replace(audience("buyers"), file="audiences/all_buyers.yml")
    with engine.begin() as connection:
        (action,) = versions.apply(connection, [moved])
    assert action == Action(kind="update", key="buyers", definition_kind="audience", changed=("file",))
    (found,) = stored(engine)
    assert (found.file, found.spec.file, found.version) == ("audiences/all_buyers.yml", "audiences/all_buyers.yml", 1)


def test_a_definition_without_a_file_is_never_missing(engine: Engine) -> None:
    apply(engine, audience("made_by_hand", file=None))
    assert apply(engine, audience("buyers")) == [("create", "buyers")]
    assert apply(engine, delete=("made_by_hand",)) == [("delete", "made_by_hand"), ("missing", "buyers")]
    assert [found.key for found in stored(engine)] == ["buyers"]


def test_a_missing_definition_goes_only_when_it_is_named(engine: Engine) -> None:
    apply(engine, audience("buyers"))
    assert apply(engine) == [("missing", "buyers")]
    assert [found.key for found in stored(engine)] == ["buyers"]
    assert apply(engine, delete=("buyers",)) == [("delete", "buyers")]
    assert stored(engine, include_disabled=True) == []
    assert apply(engine) == []


def test_a_deleted_definition_that_returns_is_restored_and_computed_anew(engine: Engine) -> None:
    apply(engine, audience("buyers"))
    (before,) = stored(engine)
    apply(engine, delete=("buyers",))
    assert apply(engine, audience("buyers")) == [("restore", "buyers")]
    (after,) = stored(engine)
    assert (after.id, after.public_id, after.version) == (before.id, before.public_id, 2)
    assert apply(engine, audience("buyers")) == [("unchanged", "buyers")]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_key_never_becomes_another_kind(engine: Engine, is_deleted: bool) -> None:
    apply(engine, audience("buyers"), delete=())
    if is_deleted:
        apply(engine, delete=("buyers",))
    with pytest.raises(errors.UsageError) as refused:
        apply(engine, trait("buyers"))
    assert str(refused.value) == (
        "traits/buyers.yml: the key 'buyers' belongs to another kind of definition (audience)."
        " Give this one another `key:`."
    )


def test_deleting_asks_for_a_definition_that_is_there(engine: Engine) -> None:
    apply(engine, audience("buyers"), audience("visitors"))
    apply(engine, audience("buyers"), delete=("visitors",))
    with pytest.raises(errors.NotFound, match=re.escape("There is no definition 'buyer'. Did you mean 'buyers'?")):
        apply(engine, delete=("buyer",))
    with pytest.raises(errors.NotFound, match=re.escape("There is no definition 'visitors'. Known are: buyers.")):
        apply(engine, delete=("visitors",))
    with pytest.raises(errors.UsageError, match="buyers still has a file; remove the file, then apply with --delete"):
        apply(engine, audience("buyers"), delete=("buyers",))


def test_what_others_refer_to_is_not_deleted(engine: Engine) -> None:
    apply(engine, audience("buyers"), audience("fans", "trait('buyers') = 'true'"))
    with pytest.raises(errors.UsageError) as refused:
        apply(engine, delete=("buyers",))
    assert str(refused.value) == "buyers can't be deleted while fans refers to it; change fans first."
    assert apply(engine, delete=("buyers", "fans")) == [("delete", "buyers"), ("delete", "fans")]


def test_a_circle_with_what_is_already_there_is_refused(engine: Engine) -> None:
    apply(engine, audience("a", "trait('b') = 'true'", file=None))
    with pytest.raises(errors.UsageError) as refused:
        apply(engine, audience("b", "trait('a') = 'true'"))
    assert str(refused.value) == "definitions refer to each other in a circle: a -> b -> a"
    assert [found.key for found in stored(engine)] == ["a"]


def test_definitions_load_after_those_they_refer_to(engine: Engine) -> None:
    apply(engine, audience("c", "trait('b') = 'true'"), audience("b", "trait('a') = 'true'"), audience("z"))
    apply(engine, audience("a"))
    assert [found.key for found in stored(engine)] == ["a", "b", "c", "z"]


def test_disabled_definitions_load_only_when_asked_for(engine: Engine) -> None:
    apply(engine, audience("buyers", enabled=False))
    assert stored(engine) == []
    assert [(found.key, found.enabled) for found in stored(engine, include_disabled=True)] == [("buyers", False)]
    assert apply(engine, audience("buyers")) == [("update", "buyers")]
    # What was touched while it was off is no longer known: a new version computes it from the start.
    assert [(found.key, found.version) for found in stored(engine)] == [("buyers", 2)]


def test_find_gives_the_one_or_the_nearest_name(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(errors.NotFound) as empty:
        versions.find(connection, "buyers")
    assert str(empty.value) == "There is no definition 'buyers'. None is applied yet: run engage-sync apply."
    apply(engine, audience("buyers", enabled=False))
    with engine.connect() as connection:
        assert versions.find(connection, "buyers").key == "buyers"
        with pytest.raises(errors.NotFound) as unknown:
            versions.find(connection, "byers")
    assert str(unknown.value) == "There is no definition 'byers'. Did you mean 'buyers'?"


def test_a_version_undone_by_a_rollback_is_not_remembered(engine: Engine) -> None:
    apply(engine, audience("buyers"))
    with engine.connect() as connection:
        versions.apply(connection, [audience("buyers", name="Never")])
        assert [found.spec.name for found in versions.load(connection)] == ["Never"]
        connection.rollback()
    apply(engine, audience("buyers", name="Now"))
    assert [(found.version, found.spec.name) for found in stored(engine)] == [(2, "Now")]


def test_two_that_apply_at_once_wait_for_each_other(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        versions.apply(first, [audience("buyers")])
        assert not locks.attempt(second, locks.LockClass.DEFINITIONS_CHANGE)
        first.commit()
        assert [action.kind for action in versions.apply(second, [audience("buyers")])] == ["unchanged"]
