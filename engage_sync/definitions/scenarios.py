"""The tests of a workspace, tests/*.yml: given calls, and who must be in or out when.

Reads the files and checks them against the definitions; tells all that is wrong with any of them at once. Running them
is sync/rehearsing.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from engage_sync import errors
from engage_sync.definitions.files import read_tests
from engage_sync.definitions.language import Position
from engage_sync.definitions.language.problems import listed, nearest, shortened
from engage_sync.definitions.model import Kind, Workspace
from engage_sync.definitions.scenario_shapes import CallShape, ScenarioFileShape, ScenarioShape, StepShape
from engage_sync.definitions.validation import validate
from engage_sync.definitions.workspace import ReadWorkspace, read_workspace
from engage_sync.definitions.yaml_text import Path as KeyPath
from engage_sync.definitions.yaml_text import YamlFile
from engage_sync.ingest import accept
from engage_sync.ingest.calls import IncomingCall
from engage_sync.profiles import facts
from engage_sync.profiles.identifiers import ANONYMOUS_ID, EMAIL, USER_ID, Identifier

CheckKind: TypeAlias = Literal["in", "out", "members", "values", "messages"]
CHECKS: tuple[CheckKind, ...] = ("in", "out", "members", "values", "messages")


@dataclass(frozen=True, kw_only=True)
class GivenCall:
    """A call as it is stored (see accept.normalise); `source` is the slug of the source that it comes from."""

    source: str
    body: dict[str, Any]
    position: Position


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an identity is told about a definition in one step. `identify` counts only where `is_identified`."""

    is_identified: bool = False
    identify: Any = None
    track: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must be so of these people. `expected` is whether they are in, a trait's value, or a `Told`.

    `members` holds where these people are in, and nobody else.
    """

    kind: CheckKind
    key: str
    people: tuple[Identifier, ...]
    expected: Any
    position: Position


@dataclass(frozen=True, kw_only=True)
class Step:
    """`calls` arrive, everything is computed as of `at` (aware), and then the checks must hold."""

    at: datetime
    calls: tuple[GivenCall, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One test. Steps ascend in time; the calls given at the beginning are the first step's."""

    name: str
    file: str
    position: Position
    steps: tuple[Step, ...]

    @property
    def keys(self) -> list[str]:
        """The definitions that it speaks of, each once."""
        return list(dict.fromkeys(check.key for step in self.steps for check in step.checks))


def load_with_scenarios(
    path: Path,
    environment: Mapping[str, str],
    *,
    chosen: Sequence[Path] | None = None,
    without_secrets: bool = False,
) -> tuple[Workspace, tuple[Scenario, ...]]:
    """A workspace and its tests, of all files in tests/ or of the `chosen` ones.

    `without_secrets`: variables may be missing that only accepting and sending need. Raises WorkspaceInvalid with every
    problem of every file.
    """
    read = read_workspace(path, environment, without_secrets=without_secrets)
    files = read_tests(path, environment, chosen)
    scenarios = [scenario for file in files for scenario in read_scenarios(file, read)]
    problems = [*read.problems, *(problem for file in files for problem in sorted(set(file.problems)))]
    if problems:
        raise errors.WorkspaceInvalid(problems)
    return read.checked(), tuple(scenarios)


def read_scenarios(file: YamlFile, workspace: ReadWorkspace) -> list[Scenario]:
    """The tests of one file; what is wrong is told to the file."""
    shape = validate(ScenarioFileShape, file)
    if shape is None:
        return []
    if shape.tests is None:
        if not _is_whole(shape, file):
            return []
        alone = ScenarioShape.model_construct(name=shape.name, given=shape.given, then=shape.then)
        return [_Reading(file=file, workspace=workspace).scenario(alone, ())]
    for name in ("name", "then"):
        if getattr(shape, name) is not None:
            file.tell(file.at_key((name,)), f"found {name}: beside tests:, expected it within each of the tests")
    if not shape.tests:
        file.tell(file.at_value(("tests",)), "found no test, expected at least one with name: and then:")
    _check_names(shape.tests, file)
    return [
        _Reading(file=file, workspace=workspace).scenario(each, ("tests", index), shared=shape.given)
        for index, each in enumerate(shape.tests)
    ]


def shown(person: Identifier) -> str:
    """A person as files name them."""
    return f"{person[0]}:{person[1]}"


def _is_whole(shape: ScenarioFileShape, file: YamlFile) -> bool:
    missing = [name for name in ("name", "then") if getattr(shape, name) is None]
    if len(missing) > 1:
        file.tell(file.at_value(()), "found no test, expected name: and then:, or several tests under tests:")
    elif missing:
        file.tell(file.at_value(()), f"missing key '{missing[0]}'")
    return not missing


def _check_names(tests: Sequence[ScenarioShape], file: YamlFile) -> None:
    first: dict[str, int] = {}
    for index, test in enumerate(tests):
        place = file.at_value(("tests", index, "name"))
        line = first.setdefault(test.name, place.line)
        if line != place.line:
            file.tell(place, f"found the name of the test on line {line} again, expected another one")


@dataclass(kw_only=True)
class _Reading:
    """One test on its way from its shape; `people` are those whom its calls have named so far."""

    file: YamlFile
    workspace: ReadWorkspace
    people: set[Identifier] = field(default_factory=set)

    def scenario(self, shape: ScenarioShape, path: KeyPath, shared: Sequence[CallShape] = ()) -> Scenario:
        if not shape.then:
            self.file.tell(self.file.at_value((*path, "then")), "found no step, expected at least one with at:")
        given: list[tuple[CallShape, KeyPath]] = [(call, ("given", index)) for index, call in enumerate(shared)]
        given += [(call, (*path, "given", index)) for index, call in enumerate(shape.given)]
        steps: list[Step] = []
        for index, step in enumerate(shape.then):
            below = (*path, "then", index)
            if steps and step.at < steps[-1].at:
                place = self.file.at_value((*below, "at"))
                self.file.tell(place, f"found an instant before that of the step above, {steps[-1].at.isoformat()}")
            calls = [(call, (*below, "calls", number)) for number, call in enumerate(step.calls)]
            steps.append(self.step(step, below, calls if steps else [*given, *calls]))
        if shape.then and not self.file.problems and not any(step.checks for step in steps):
            self.file.tell(self.file.at_value((*path, "then")), f"checks nothing, expected {listed(CHECKS)} in a step")
        position = self.file.at_value((*path, "name"))
        return Scenario(name=shape.name, file=self.file.name, position=position, steps=tuple(steps))

    def step(self, shape: StepShape, path: KeyPath, calls: Sequence[tuple[CallShape, KeyPath]]) -> Step:
        made = [made for call, place in calls if (made := self.call(call, place, shape.at)) is not None]
        checks = (
            *self.memberships("in", shape.in_, path),
            *self.memberships("out", shape.out, path),
            *self.members(shape.members, path),
            *self.values(shape.values, path),
            *self.messages(shape, path),
        )
        return Step(at=shape.at, calls=tuple(made), checks=checks)

    # --- calls --------------------------------------------------------------------------------------------------

    def call(self, shape: CallShape, path: KeyPath, at: datetime) -> GivenCall | None:
        """The call, checked as one that comes in; None where it can't be stored, which is told."""
        source = self.source(shape, path)
        said = shape.model_dump(exclude={"source"}, exclude_none=True)
        # Deterministic, and another one for equal calls: a test that says the same twice means it.
        defaults = {"messageId": ".".join(map(str, path)), "timestamp": at.astimezone(UTC).isoformat()}
        try:
            encoded = accept.encode({**defaults, **said})
            if len(encoded) > accept.MAX_CALL_BYTES:
                raise errors.CallInvalid(f"call: larger than {accept.MAX_CALL_BYTES} bytes")
            body = accept.normalise(accept.parse(encoded))
            read = facts.read(
                IncomingCall(source_id=0, received_at=at, body=body, row=1), 0, self.workspace.configuration.limits
            )
        except errors.CallInvalid as invalid:
            name, _, _ = str(invalid).partition(":")
            self.file.tell(self.file.at_value((*path, name)), str(invalid))
            return None
        if read.is_adjusted:
            self.file.tell(self.file.at_value((*path, "timestamp")), "timestamp: expected one between 1970 and 2200")
        self.people.update(read.identifiers)
        if read.previous_id is not None:
            self.people.update({(USER_ID, read.previous_id), (ANONYMOUS_ID, read.previous_id)})
        return GivenCall(source=source, body=body, position=self.file.at_value(path))

    def source(self, shape: CallShape, path: KeyPath) -> str:
        known = self.workspace.sources or []
        if shape.source is None:
            return known[0] if known else "import"
        if self.workspace.sources is not None and shape.source not in known:
            hint = nearest(shape.source, known) or (f"; expected {listed(known)}" if known else "; there are none")
            message = f"unknown source '{shortened(shape.source)}'{hint}"
            self.file.tell(self.file.at_value((*path, "source")), message)
        return shape.source

    # --- checks -------------------------------------------------------------------------------------------------

    def memberships(
        self, kind: Literal["in", "out"], given: Mapping[str, Sequence[str]], path: KeyPath
    ) -> Iterator[Check]:
        for key, people in given.items():
            below = (*path, kind, key)
            self.definition(key, below)
            for index, person in enumerate(people):
                position = self.file.at_value((*below, index))
                found = self.person(person, position)
                if found is not None:
                    yield Check(kind=kind, key=key, people=(found,), expected=kind == "in", position=position)

    def members(self, given: Mapping[str, Sequence[str]], path: KeyPath) -> Iterator[Check]:
        for key, people in given.items():
            below = (*path, "members", key)
            self.definition(key, below)
            found = [self.person(each, self.file.at_value((*below, index))) for index, each in enumerate(people)]
            known = tuple(person for person in found if person is not None)
            yield Check(kind="members", key=key, people=known, expected=True, position=self.file.at_key(below))

    def values(self, given: Mapping[str, Mapping[str, Any]], path: KeyPath) -> Iterator[Check]:
        for key, by_person in given.items():
            below = (*path, "values", key)
            if self.definition(key, below) == "audience":
                self.file.tell(self.file.at_key(below), f"'{key}' is an audience; expected it under in: or out:")
            for person, value in by_person.items():
                found = self.person(person, self.file.at_key((*below, person)))
                position = self.file.at_value((*below, person))
                if found is not None:
                    yield Check(kind="values", key=key, people=(found,), expected=value, position=position)

    def messages(self, shape: StepShape, path: KeyPath) -> Iterator[Check]:
        for key, by_person in shape.messages.items():
            below = (*path, "messages", key)
            self.definition(key, below)
            for person, told in by_person.items():
                position = self.file.at_key((*below, person))
                found = self.person(person, position)
                if found is None:
                    continue
                if found[0] not in (EMAIL, USER_ID):
                    self.file.tell(position, f"found '{shown(found)}'; destinations know emails and user ids only")
                expected = Told(
                    is_identified="identify" in told.model_fields_set,
                    identify=told.identify,
                    track=tuple(told.track),
                )
                yield Check(kind="messages", key=key, people=(found,), expected=expected, position=position)

    def definition(self, key: str, path: KeyPath) -> Kind | None:
        """The kind of the definition with this key, which must be there and enabled."""
        known = self.workspace.keys
        if key not in known and self.workspace.knows_all_keys:
            hint = nearest(key, known) or ("" if known else "; there are none")
            self.file.tell(self.file.at_key(path), f"unknown definition '{shortened(key)}'{hint}")
        elif key in self.workspace.disabled:
            self.file.tell(self.file.at_key(path), f"'{key}' is disabled (enabled: false), so that nobody is in it")
        return known.get(key)

    def person(self, text: str, position: Position) -> Identifier | None:
        """Somebody whom a call has named: a misspelled name would be out of everything."""
        found = _identifier(text)
        if found in self.people:
            return found
        known = [shown(person) for person in self.people]
        hint = nearest(shown(found), known)
        self.file.tell(position, f"no call up to this step names '{shortened(shown(found))}'{hint}")
        return None


def _identifier(text: str) -> Identifier:
    kind, separator, value = text.partition(":")
    if not separator:
        kind, value = (EMAIL, text) if "@" in text else (USER_ID, text)
    return (kind, value.strip().lower() if kind == EMAIL else value)
