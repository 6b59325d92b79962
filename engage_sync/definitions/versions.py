"""Definitions as the database keeps them: each with its versions. The only writer of `definitions` and its versions.

A definition keeps its key and its id for ever; a change of its document makes a new version. A deleted one keeps its
key, so that no other takes it over in silence: the same file again restores it, and says so.
"""

from __future__ import annotations

import difflib
import secrets
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, text

from engage_sync import errors
from engage_sync.database import locks
from engage_sync.definitions import language
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import mapped
from engage_sync.definitions.model import DefinitionSpec, Kind
from engage_sync.definitions.order import dependencies, find_cycles, in_order

_PREFIX = {"audience": "aud_", "computed_trait": "tra_"}
_ALPHABET = string.ascii_letters + string.digits
_LOAD = text(
    """
    SELECT definitions.id, definitions.public_id, definitions.kind, definitions.key, definitions.version,
           definitions.enabled, definitions.file, definitions.created_at, definitions.deleted_at,
           definition_versions.document::text AS document
    FROM definitions
    JOIN definition_versions ON definition_versions.definition_id = definitions.id
      AND definition_versions.version = definitions.version
    ORDER BY definitions.id
    """
)
_CREATE = text(
    """
    INSERT INTO definitions (public_id, kind, key, version, enabled, file, created_at)
    VALUES (:public_id, :kind, :key, 1, :enabled, :file, coalesce(:created_at, clock_timestamp())) RETURNING id
    """
)
_VERSION = text(
    """
    INSERT INTO definition_versions (definition_id, version, document)
    VALUES (:id, :version, CAST(:document AS jsonb))
    """
)
_UPDATE = text(
    """
    UPDATE definitions
    SET version = :version, enabled = :enabled, file = :file, deleted_at = NULL, updated_at = clock_timestamp()
    WHERE id = :id
    """
)
_DELETE = text("UPDATE definitions SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = :id")

ActionKind = Literal["create", "update", "restore", "unchanged", "missing", "delete"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredDefinition:
    """A definition in its current version. `id` is internal; `public_id` is what leaves. `created_at` is aware."""

    id: int
    public_id: str
    kind: Kind
    key: str
    version: int
    enabled: bool
    file: str | None
    created_at: datetime
    spec: DefinitionSpec

    @property
    def since(self) -> datetime | None:
        """Events before this instant don't count (`include_historical_data`); None: all do."""
        match self.spec.include_historical_data:
            case True:
                return None
            case False:
                return self.created_at
            case days:
                return self.created_at - timedelta(days=days)


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What applying does to one definition; `changed` names the fields of its document that differ."""

    kind: ActionKind
    key: str
    definition_kind: Kind
    changed: tuple[str, ...] = ()


def plan(connection: Connection, specs: Sequence[DefinitionSpec], *, delete: Collection[str] = ()) -> list[Action]:
    """What `apply` would do. "missing" names definitions whose file is gone: they stay unless named in `delete`.

    Raises errors.UsageError where a key changes from audience to trait or back, where `delete` names what still has a
    file or is referred to, and where the definitions, together with those that are there, refer to each other in a
    circle; errors.NotFound where `delete` names nothing.
    """
    stored = {row.key: row for row in connection.execute(_LOAD)}
    actions = [_action(spec, stored.get(spec.key)) for spec in specs]
    given = {spec.key: spec for spec in specs}
    live = {key: row for key, row in stored.items() if row.deleted_at is None}
    for key in delete:
        if key in given:
            raise errors.UsageError(f"{key} still has a file; remove the file, then apply with --delete {key}.")
        if key not in live:
            raise errors.NotFound(unknown_key(key, live))
    for key, row in live.items():
        if key in delete:
            actions.append(Action(kind="delete", key=key, definition_kind=row.kind))
        elif key not in given and row.file is not None:
            actions.append(Action(kind="missing", key=key, definition_kind=row.kind))
    _check_references({key: _spec(row) for key, row in live.items()} | given, delete)
    return actions


def apply(
    connection: Connection,
    specs: Sequence[DefinitionSpec],
    *,
    delete: Collection[str] = (),
    created_at: datetime | None = None,
) -> list[Action]:
    """Record definitions, and return what was done. Computing them is somebody else's.

    `created_at` is for who tells another time than the database's clock (`include_historical_data` counts from it).
    """
    locks.wait(connection, locks.LockClass.DEFINITIONS_CHANGE)
    actions = plan(connection, specs, delete=delete)
    stored = {row.key: row for row in connection.execute(_LOAD)}
    by_key = {spec.key: spec for spec in specs}
    for action in actions:
        match action.kind:
            case "create":
                _create(connection, by_key[action.key], created_at)
            case "update" | "restore":
                _update(connection, by_key[action.key], stored[action.key])
            case "delete":
                connection.execute(_DELETE, {"id": stored[action.key].id})
            case "unchanged" | "missing":
                pass
    return actions


def load(connection: Connection, *, include_disabled: bool = False) -> list[StoredDefinition]:
    """All definitions that aren't deleted, each after those that it refers to."""
    rows = [row for row in connection.execute(_LOAD) if row.deleted_at is None and (row.enabled or include_disabled)]
    stored = {row.key: _stored(row) for row in rows}
    specs = with_columns([definition.spec for definition in stored.values()])
    return [replace(stored[spec.key], spec=spec) for spec in in_order(specs)]


def load_swept(connection: Connection) -> list[StoredDefinition]:
    """The deleted definitions of which everybody is to be told (`on_delete: sweep`)."""
    return [_stored(row) for row in connection.execute(_LOAD) if row.deleted_at is not None and _sweeps(row)]


def keys(connection: Connection) -> dict[int, str]:
    """The keys of all definitions by their ids, also of deleted ones."""
    return {row.id: row.key for row in connection.execute(text("SELECT id, key FROM definitions"))}


def find(connection: Connection, key: str) -> StoredDefinition:
    """One definition by its key. Raises errors.NotFound with the nearest known key."""
    found = {definition.key: definition for definition in load(connection, include_disabled=True)}
    if key not in found:
        raise errors.NotFound(unknown_key(key, found))
    return found[key]


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that isn't there."""
    names = sorted(known)
    nearest = difflib.get_close_matches(key, names, n=1)
    if nearest:
        return f"There is no definition {key!r}. Did you mean {nearest[0]!r}?"
    return f"There is no definition {key!r}. " + (
        f"Known are: {', '.join(names[:20])}." if names else "None is applied yet: run engage-sync apply."
    )


def is_realtime(spec: DefinitionSpec, lookback: Collection[str]) -> bool:
    """Whether a definition is computed at once: those that time alone can't change, unless their cadence says other."""
    if spec.compute_cadence is None:
        return spec.key not in lookback
    return spec.compute_cadence == "realtime"


def lookback_keys(specs: Sequence[DefinitionSpec]) -> frozenset[str]:
    """The keys of the definitions that time alone can change, by their own query or by what they refer to."""
    found: frozenset[str] = frozenset()
    for spec in in_order(specs):
        if language.is_lookback(spec.tree, found):
            found |= {spec.key}
    return found


def with_columns(specs: Sequence[DefinitionSpec]) -> list[DefinitionSpec]:
    """The definitions with every trait() that names an SQL trait's column leading there: `tier` as `loyalty.tier`."""
    homes = {column: spec.key for spec in specs if isinstance(spec.tree, tree.SqlRows) for column in spec.tree.columns}
    if not homes:
        return list(specs)

    def lead(reference: tree.TraitRef) -> tree.TraitRef:
        root = reference.path[0]
        if reference.of_account or root not in homes or (homes[root] == root and len(reference.path) > 1):
            return reference
        return replace(reference, path=(homes[root], *reference.path))

    return [replace(spec, tree=mapped(spec.tree, lead)) for spec in specs]


def _stored(row: Any) -> StoredDefinition:
    return StoredDefinition(
        id=row.id,
        public_id=row.public_id,
        kind=row.kind,
        key=row.key,
        version=row.version,
        enabled=row.enabled,
        file=row.file,
        created_at=row.created_at,
        spec=_spec(row),
    )


def _sweeps(row: Any) -> bool:
    return bool(orjson.loads(row.document).get("on_delete") == "sweep")


def _action(spec: DefinitionSpec, row: Any) -> Action:
    if row is None:
        return Action(kind="create", key=spec.key, definition_kind=spec.kind)
    if row.kind != spec.kind:
        raise errors.UsageError(
            f"{spec.file or spec.key}: the key {spec.key!r} belongs to another kind of definition ({row.kind})."
            " Give this one another `key:`."
        )
    before = orjson.loads(row.document)
    document = orjson.loads(orjson.dumps(spec.document()))
    changed = tuple(sorted(name for name in {*before, *document} if before.get(name) != document.get(name)))
    if row.deleted_at is not None:
        return Action(kind="restore", key=spec.key, definition_kind=spec.kind, changed=changed)
    if not changed and row.file == spec.file:
        return Action(kind="unchanged", key=spec.key, definition_kind=spec.kind)
    return Action(kind="update", key=spec.key, definition_kind=spec.kind, changed=changed or ("file",))


def _check_references(specs: Mapping[str, DefinitionSpec], delete: Collection[str]) -> None:
    """What stays may refer neither to what goes, as that would be absent and everybody would leave, nor in a circle."""
    remaining = [spec for spec in with_columns(list(specs.values())) if spec.key not in delete]
    for spec in remaining:
        for key in sorted(language.references(spec.tree) & set(delete)):
            raise errors.UsageError(f"{key} can't be deleted while {spec.key} refers to it; change {spec.key} first.")
    for cycle in find_cycles(dependencies(remaining)):
        raise errors.UsageError(f"definitions refer to each other in a circle: {' -> '.join([*cycle, cycle[0]])}")


def _create(connection: Connection, spec: DefinitionSpec, created_at: datetime | None) -> None:
    public_id = _PREFIX[spec.kind] + "".join(secrets.choice(_ALPHABET) for _ in range(24))
    given = {
        "public_id": public_id,
        "kind": spec.kind,
        "key": spec.key,
        "enabled": spec.enabled,
        "file": spec.file,
        "created_at": created_at,
    }
    created = connection.execute(_CREATE, given).scalar_one()
    _write_version(connection, created, 1, spec)


def _update(connection: Connection, spec: DefinitionSpec, row: Any) -> None:
    version = row.version
    # A restored definition has missed what was touched while it was deleted: a new version computes it from the start.
    if row.deleted_at is not None or orjson.loads(row.document) != orjson.loads(orjson.dumps(spec.document())):
        version += 1
        _write_version(connection, row.id, version, spec)
    connection.execute(_UPDATE, {"id": row.id, "version": version, "enabled": spec.enabled, "file": spec.file})


def _write_version(connection: Connection, definition: int, version: int, spec: DefinitionSpec) -> None:
    document = orjson.dumps(spec.document()).decode()
    connection.execute(_VERSION, {"id": definition, "version": version, "document": document})


def _spec(row: Any) -> DefinitionSpec:
    return _parsed(row.document, row.kind, row.file)


@lru_cache(maxsize=4096)
def _parsed(document: str, kind: Kind, file: str | None) -> DefinitionSpec:
    return DefinitionSpec.from_document(orjson.loads(document), kind, file=file)
