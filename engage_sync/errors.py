"""Every error that engage-sync raises on purpose.

    EngageSyncError                  a message for a person, and the exit code of a command that ends with it
    ├── UsageError                   (2) the command line or a value on it is wrong
    ├── WorkspaceInvalid             (2) problems in the workspace's files, all at once
    ├── QueryInvalid                 (2) problems in one query, each at a line and column
    ├── NotFound                     (1) no such definition, profile, destination, dead letter
    ├── DatabaseUnavailable          (1) Postgres can't be reached, or a migration is missing
    ├── SchemaTooNew                 (1) a newer version's schema, on which this one can't work
    ├── CallInvalid                  (1) a Segment call that can't be stored; says which field and why
    │   ├── CallTooLarge             (1) over the size limits of the tracking API
    │   └── Unauthorized             (1) an unknown write key, or a wrong secret
    ├── NotMonotonic                 (1) an instant before the last one that was computed
    ├── DestinationUnavailable       (1) a destination that doesn't say what it holds
    ├── StaleLease                   (1) another worker took over what this one held
    ├── ComputationFailed            (1) a definition that couldn't be computed; the others went on
    └── HeldByGuard                  (3) a definition that a guard holds; the others went on

Messages say what was found, what was expected, and what to do next; they never carry a secret or a trait's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EngageSyncError(Exception):
    """The root. `exit_code` is what a command ends with when nobody handles the error."""

    exit_code = 1


class UsageError(EngageSyncError):
    exit_code = 2


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing wrong at one place. `path` is as the user would type it; line and column count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class WorkspaceInvalid(EngageSyncError):
    """All problems of a workspace, in the order of files and lines."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class QueryInvalid(EngageSyncError):
    """All problems of one query; `line` and `column` count within the query's own text, from 1."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotFound(EngageSyncError):
    pass


class DatabaseUnavailable(EngageSyncError):
    pass


class SchemaTooNew(EngageSyncError):
    pass


class CallInvalid(EngageSyncError):
    """A call that can't be taken. `code` is the short name that the tracking API answers with."""

    def __init__(self, message: str, *, code: str = "invalid_request") -> None:
        self.code = code
        super().__init__(message)


class CallTooLarge(CallInvalid):
    def __init__(self, message: str) -> None:
        super().__init__(message, code="payload_too_large")


class Unauthorized(CallInvalid):
    def __init__(self, message: str) -> None:
        super().__init__(message, code="unauthorized")


class NotMonotonic(EngageSyncError):
    pass


class DestinationUnavailable(EngageSyncError):
    pass


class StaleLease(EngageSyncError):
    pass


class ComputationFailed(EngageSyncError):
    pass


class HeldByGuard(EngageSyncError):
    exit_code = 3
