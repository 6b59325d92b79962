"""From the files of a workspace to checked definitions, or to all that is wrong with them at once.

Reads engage.yml, audiences/ and traits/ and the environment that it is given; writes nothing, and needs no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engage_sync import errors
from engage_sync.definitions import language, statements
from engage_sync.definitions.configuration import (
    Configuration,
    destination_slugs,
    guard,
    read_configuration,
    source_slugs,
)
from engage_sync.definitions.files import WorkspaceFiles, read_files
from engage_sync.definitions.keys import RESERVED, make_key
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.problems import listed, nearest, shortened
from engage_sync.definitions.model import DefinitionSpec, Kind, Tells, TrackNames, Workspace
from engage_sync.definitions.order import find_cycles
from engage_sync.definitions.shapes import (
    AudienceShape,
    AudienceTellsShape,
    DefinitionShape,
    TraitShape,
    TraitTellsShape,
)
from engage_sync.definitions.validation import validate
from engage_sync.definitions.yaml_text import YamlFile


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One definition's file, as far as it could be read: cross-checks need the key and tree of files with problems."""

    kind: Kind
    file: YamlFile
    shape: AudienceShape | TraitShape | None
    key: str | None
    tree: language.Definition | None


@dataclass(frozen=True, kw_only=True)
class ReadWorkspace:
    """A workspace as far as it could be read, for those who check more files against it before they complain."""

    path: Path
    files: WorkspaceFiles
    configuration: Configuration
    definitions: Sequence[_Read]

    @property
    def problems(self) -> list[errors.Problem]:
        return [problem for file in self.files.all() for problem in sorted(set(file.problems))]

    @property
    def keys(self) -> dict[str, Kind]:
        """The definitions that files say there are, those with problems too."""
        return {read.key: read.kind for read in self.definitions if read.key is not None}

    @property
    def knows_all_keys(self) -> bool:
        """Whether there can be no definition but those of `keys`: each file could be read far enough."""
        return all(read.key is not None for read in self.definitions)

    @property
    def disabled(self) -> set[str]:
        return {read.key for read in self.definitions if read.key and read.shape and not read.shape.enabled}

    @property
    def sources(self) -> list[str] | None:
        """The sources that engage.yml names, even where it has problems; None where nobody can tell."""
        return source_slugs(self.files.engage)

    def checked(self) -> Workspace:
        """What it says. Raises WorkspaceInvalid with every problem of every file."""
        if self.problems:
            raise errors.WorkspaceInvalid(self.problems)
        return Workspace(
            path=self.path,
            space=self.configuration.space,
            sources=self.configuration.sources,
            destinations=self.configuration.destinations,
            schedule=self.configuration.schedule,
            limits=self.configuration.limits,
            guard=self.configuration.guard,
            definitions=tuple(_spec(read) for read in self.definitions),
            warnings=tuple(warning for read in self.definitions for warning in _warnings(read)),
        )


def load_workspace(path: Path, environment: Mapping[str, str]) -> Workspace:
    """The workspace in this folder. `environment` fills `${NAME}`; the caller has merged `.env` into it.

    Raises WorkspaceInvalid with every problem of every file.
    """
    return read_workspace(path, environment).checked()


def read_workspace(path: Path, environment: Mapping[str, str], *, without_secrets: bool = False) -> ReadWorkspace:
    """The same, not complaining yet. `without_secrets`: variables for keys and addresses may be missing."""
    files = read_files(path, environment, without_secrets=without_secrets)
    configuration = read_configuration(files.engage)
    slugs = destination_slugs(files.engage)
    definitions = [_read(kind, file, slugs) for kind, file in files.definitions]
    _check_keys(definitions)
    _check_cycles(definitions)
    _check_account_traits(definitions)
    return ReadWorkspace(path=path, files=files, configuration=configuration, definitions=definitions)


def _read(kind: Kind, file: YamlFile, slugs: Sequence[str] | None) -> _Read:
    shape = validate(AudienceShape, file) if kind == "audience" else validate(TraitShape, file)
    if shape is not None:
        _check_computed(shape, file)
    if slugs is not None:
        _check_destinations(file, slugs)
    return _Read(kind=kind, file=file, shape=shape, key=_key(file), tree=_tree(kind, file))


def _check_computed(shape: DefinitionShape, file: YamlFile) -> None:
    if shape.sql is not None:
        _check_sql(shape, shape.sql, file)
    elif shape.query is None:
        expected = "'query' or 'sql'" if isinstance(shape, TraitShape) else "'query'"
        file.tell(file.at_key(("query",)), f"missing key {expected}")


def _check_sql(shape: DefinitionShape, sql: str, file: YamlFile) -> None:
    if not isinstance(shape, TraitShape):
        file.tell(file.at_key(("sql",)), "an audience has a query; sql: makes a trait, in traits/")
    if shape.query is not None:
        file.tell(file.at_key(("sql",)), "found both query and sql, expected one of them")
    if shape.type == "ACCOUNTS":
        message = "an SQL trait has rows of people; expected type: USERS"
        file.tell(file.at_value(("type",)), message)
    if shape.compute_cadence == "realtime":
        message = "an SQL trait is read on a schedule; expected hourly or a cron line"
        file.tell(file.at_value(("compute_cadence",)), message)
    if shape.include_historical_data is not True:
        file.tell(file.at_key(("include_historical_data",)), "an SQL trait says in its sql which history it reads")
    if ("sql",) not in file.broken and (found := statements.problem(sql)) is not None:
        line, column, message = found
        file.tell(file.in_text(("sql",), line, column), message)


def _check_destinations(file: YamlFile, slugs: Sequence[str]) -> None:
    destinations = (file.data or {}).get("destinations")
    for slug in destinations if isinstance(destinations, dict) else ():
        if slug not in slugs:
            known = f"; expected {listed(slugs)}" if slugs else "; engage.yml has no destinations"
            message = f"unknown destination '{shortened(slug)}'{nearest(slug, slugs) or known}"
            file.tell(file.at_key(("destinations", slug)), message)


def _key(file: YamlFile) -> str | None:
    """The definition's key, if the file says one that can stand."""
    data = file.data or {}
    given, name = data.get("key"), data.get("name")
    if given is None and isinstance(name, str) and name.strip() and ("name",) not in file.broken:
        given = make_key(name)
        if not given:
            file.tell(file.at_value(("name",)), "found no letters (a-z) or digits to make a key of; add key:")
    if not isinstance(given, str) or not given:
        return None
    if given in RESERVED:
        message = f"the key '{given}' is reserved; expected another key:"
        file.tell(file.at_value(("key",) if "key" in data else ("name",)), message)
    return given


def _tree(kind: Kind, file: YamlFile) -> language.Definition | None:
    data = file.data or {}
    if isinstance(data.get("sql"), str) and data.get("query") is None:
        return language.tree.SqlRows(sql=data["sql"])
    query = data.get("query")
    if not isinstance(query, str) or ("query",) in file.broken:
        return None
    try:
        return language.parse(query, kind=kind, of_accounts=data.get("type") == "ACCOUNTS")
    except errors.QueryInvalid as invalid:
        for problem in invalid.problems:
            file.tell(file.in_text(("query",), problem.line, problem.column), problem.message)
        return None


def _check_keys(definitions: Sequence[_Read]) -> None:
    first: dict[str, YamlFile] = {}
    for read in definitions:
        if read.key is None:
            continue
        other = first.setdefault(read.key, read.file)
        if other is not read.file:
            place = read.file.at_value(("key",) if "key" in (read.file.data or {}) else ("name",))
            message = (
                f"the key '{read.key}' of {read.file.name} is taken by {other.name}; give one of them another key:"
            )
            read.file.tell(place, message)


def _check_cycles(definitions: Sequence[_Read]) -> None:
    by_key = {read.key: read for read in definitions if read.key is not None and read.tree is not None}
    needs = {key: language.references(read.tree) & by_key.keys() for key, read in by_key.items() if read.tree}
    for cycle in find_cycles(needs):
        read = by_key[cycle[0]]
        following = cycle[1] if len(cycle) > 1 else cycle[0]
        place = next(
            node.position
            for node in language.walk(read.tree or tree.TraitRef(path=(following,)))
            if isinstance(node, tree.TraitRef) and not node.of_account and node.path[0] == following
        )
        message = f"definitions refer to each other in a cycle: {' → '.join([*cycle, cycle[0]])}"
        read.file.tell(read.file.in_text(("query",), place.line, place.column), message)


def _check_account_traits(definitions: Sequence[_Read]) -> None:
    """Of an account there are only traits that group calls set: what a definition says is said of people."""
    keys = {read.key for read in definitions}
    for read in definitions:
        for node in language.walk(read.tree) if read.tree is not None else ():
            if isinstance(node, tree.TraitRef) and node.of_account and node.path[0] in keys:
                message = (
                    f"found {shortened(language.describe(node))}, which is a definition, and says something of people;"
                    " here trait() is the account's: put it inside ANY (…) or ALL (…)"
                )
                read.file.tell(read.file.in_text(("query",), node.position.line, node.position.column), message)


def _spec(read: _Read) -> DefinitionSpec:
    shape = read.shape
    assert shape is not None
    query = shape.query if shape.query is not None else shape.sql
    assert query is not None
    assert read.key is not None
    assert read.tree is not None
    return DefinitionSpec(
        kind=read.kind,
        key=read.key,
        name=shape.name,
        description=shape.description,
        query=query,
        tree=read.tree,
        include_anonymous=shape.include_anonymous,
        destinations={slug: _tells(tells) for slug, tells in shape.destinations.items()},
        enabled=shape.enabled,
        compute_cadence=shape.compute_cadence,
        include_historical_data=shape.include_historical_data,
        guard=guard(shape.guard),
        on_delete=shape.on_delete,
        owner=shape.owner,
        tags=tuple(shape.tags),
        file=read.file.name,
        position=read.file.in_text(("query" if shape.query is not None else "sql",), 1, 1),
    )


def _tells(shape: AudienceTellsShape | TraitTellsShape) -> Tells:
    if shape.track is None:
        return Tells(identify=shape.identify)
    return Tells(identify=shape.identify, track=TrackNames(**shape.track.model_dump()))


def _warnings(read: _Read) -> list[errors.Problem]:
    shape = read.shape
    assert shape is not None
    found = []
    for slug, tells in shape.destinations.items():
        if not tells.identify and tells.track is None:
            place = read.file.at_key(("destinations", slug))
            found.append(read.file.problem(place, f"'{slug}' is told nothing; expected identify: true or track: true"))
    return found
