"""Whether a run may be written: the guard is asked in its first transaction, before anything of it is.

A first push is never held. A run that would change more than the guard allows is, and a live one that follows an input
which fell silent. Held is a state of the definition: its run is on record with what it would do, nothing else is
written, and whatever computes it next counts anew. Writes through snapshots/holds and snapshots/runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from engage_sync import errors
from engage_sync.database import pipeline
from engage_sync.definitions.model import Guard
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import inputs
from engage_sync.ingest import volumes
from engage_sync.ingest.volumes import Volume
from engage_sync.snapshots import guards, holds, runs, states
from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.holds import Hold, HoldReason, HoldStatus
from engage_sync.snapshots.runs import Cause, Progress, RunScope
from engage_sync.snapshots.states import State
from engage_sync.sync.catalog import Context
from engage_sync.sync.staging import Staging

log = structlog.get_logger(__name__)

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Why a run is held, in a sentence, with what it would do; `messages` at most.

    `silent` is the input that is, where `usual` calls are usual.
    """

    reason: HoldReason
    because: str
    tally: Tally
    messages: int
    silent: Volume | None
    usual: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A run that is to be judged: its definition, where that stands, and as of when."""

    context: Context
    definition: StoredDefinition
    state: State
    as_of: datetime
    is_live: bool

    @property
    def guard(self) -> Guard:
        return self.context.guard_of(self.definition)

    @property
    def hold(self) -> Hold | None:
        """What holds this version already."""
        hold = self.state.hold
        return hold if hold is not None and hold.version == self.definition.version else None

    @property
    def is_approved(self) -> bool:
        return self.hold is not None and self.hold.status is HoldStatus.APPROVED

    @property
    def allowed(self) -> int | None:
        """How many changes the guard allows now; None: any number."""
        return guards.most(self.guard, self.state.members, self.state.recent(self.as_of))


class Inputs:
    """What the inputs of engage.yml sent before an instant, read when it is first asked for."""

    def __init__(self, connection: Connection, context: Context, as_of: datetime) -> None:
        self._connection = connection
        self._sources = context.sources
        self._as_of = as_of
        self._heard: dict[tuple[timedelta, str | None], list[Volume]] = {}

    def silent(self, case: Case) -> Volume | None:
        """The input that is silent and that the definition follows; None also where somebody accepted that.

        A source that is silent as a whole comes before an event of one that goes on.
        """
        span = case.guard.silence
        if not case.is_live or not isinstance(span, timedelta) or not self._sources:
            return None
        accepted = case.state.silence_accepted_until
        if accepted is not None and case.as_of < accepted:
            return None
        names = inputs.windowed_events(case.definition.spec.tree)
        if not names:
            return None
        found = (each for each in self._volumes(span, names) if each.is_silent or _is_still_silent(case.hold, each))
        return next((each for each in found if self._is_followed(case, each)), None)

    def _volumes(self, span: timedelta, names: Collection[str]) -> list[Volume]:
        """Of the sources, then of these events."""
        wanted = [None, *sorted(names)]
        unknown = [each for each in wanted if (span, each) not in self._heard]
        events = [each for each in unknown if each is not None]
        asked = [volumes.hearing(self._sources, span, self._as_of)] if None in unknown else []
        if events:
            asked.append(volumes.hearing_of(self._sources, events, span, self._as_of))
        self._heard |= {(span, each): [] for each in unknown}
        for found in pipeline.ask_each(self._connection, asked):
            for volume in found:
                self._heard[span, volume.event].append(volume)
        return [volume for each in wanted for volume in self._heard[span, each]]

    def _is_followed(self, case: Case, volume: Volume) -> bool:
        names = inputs.windowed_events(case.definition.spec.tree, without=volume.slug)
        if volume.event is not None:
            return volume.event in names
        last = case.as_of if volume.last_minute is None else volume.last_minute + _MINUTE
        return inputs.follows(self._connection, names, volume.source_id, last)


def judge(connection: Connection, case: Case, staging: Staging, staged: int, channels: int) -> Verdict | None:
    """Whether what is staged may be written; None: it may. So many `channels` tell each identity of a change.

    What it would do is counted only where something may speak against it.
    """
    if case.state.version is None:
        return None
    silent = Inputs(connection, case.context, case.as_of).silent(case)
    if not case.is_approved and silent is None and (case.allowed is None or staged <= case.allowed):
        return None
    tally = staging.foresee(connection)
    found = _against(case, tally, silent)
    if found is None:
        return None
    reason, because = found
    return Verdict(
        reason=reason,
        because=because,
        tally=tally,
        messages=channels * staging.identities(connection),
        silent=silent,
        usual=None if silent is None else _usual(case.hold, silent),
    )


def foreseen(connection: Connection, case: Case, tally: Tally) -> str | None:
    """Why a run that would do this would be held; None: it wouldn't."""
    if case.state.version is None or not tally.total:
        return None
    found = _against(case, tally, Inputs(connection, case.context, case.as_of).silent(case))
    return None if found is None else found[1]


def may_be_held(case: Case, tally: Tally, inputs_: Inputs | None) -> bool:
    """Whether a guard may hold these differences of a round; they are then for a run of its own to judge.

    `inputs_` None: time has crossed no edge, so that nothing follows from silence.
    """
    if not tally.total:
        return False
    if case.allowed is not None and tally.total > case.allowed:
        return True
    return inputs_ is not None and inputs_.silent(case) is not None


def require_not_discarded(case: Case, now: State) -> None:
    """Raise errors.ComputationFailed where somebody gave up, between two batches, what was approved."""
    if case.is_approved and now.hold is not None and now.hold.status is HoldStatus.DISCARDED:
        raise errors.ComputationFailed("It was discarded meanwhile; what was written until then stands.")


def record(
    connection: Connection,
    case: Case,
    verdict: Verdict,
    *,
    cause: Cause,
    scope: RunScope,
    evaluated: int,
    milliseconds: float,
) -> int:
    """Hold the definition; returns the run that says what would be written, the same one as long as it is held."""
    definition, hold = case.definition, case.hold
    if hold is not None and hold.status is HoldStatus.HELD:
        run = hold.run_id
    else:
        run = runs.start(connection, definition.id, definition.version, cause, scope)
        if case.state.hold is not None:
            runs.close_held(connection, case.state.hold.run_id, "lapsed", f"Held anew, as run {run}.")
    progress = Progress(evaluated=evaluated, tally=verdict.tally, messages=verdict.messages)
    runs.hold(connection, run, progress, as_of=case.as_of, note=verdict.because, milliseconds=milliseconds)
    holds.hold(
        connection,
        definition.id,
        version=definition.version,
        run=run,
        reason=verdict.reason,
        live=case.is_live,
        looked_at=case.as_of,
        source=verdict.silent.source_id if verdict.silent else None,
        event=verdict.silent.event if verdict.silent else None,
        usual=verdict.usual,
    )
    states.held(connection, definition.id)
    log.warning(
        "sync_held",
        key=definition.key,
        run=run,
        because=verdict.because,
        entered=verdict.tally.entered,
        left=verdict.tally.exited,
        changed=verdict.tally.changed,
    )
    return run


def release(connection: Connection, case: Case) -> None:
    """A run is written: whatever held the definition doesn't any more."""
    hold = case.state.hold
    if hold is None:
        return
    holds.end(connection, case.definition.id)
    if case.is_approved:
        states.approved(connection, case.definition.id, silent=hold.source_id is not None)
        return
    runs.close_held(connection, hold.run_id, "lapsed", "Nothing spoke against it any more: a later run was written.")
    log.info("hold_lapsed", key=case.definition.key, run=hold.run_id)


# --- what speaks against it ---------------------------------------------------------------------------------------


def _against(case: Case, tally: Tally, silent: Volume | None) -> tuple[HoldReason, str] | None:
    if not tally.total:
        return None
    what = "members" if case.definition.kind == "audience" else "people with a value"
    counts = f"{guards.shown(tally)}, of {case.state.members:,} {what}"
    if case.is_approved and case.hold is not None and case.hold.allowance is not None:
        if case.hold.allowance.covers(tally):
            return None
        return HoldReason.GROWN, f"{counts}: more than what was approved and a tenth."
    if silent is not None:
        return HoldReason.SILENCE, f"{counts}, while {silence(silent, _usual(case.hold, silent))}."
    if case.allowed is not None and tally.total > case.allowed and isinstance(case.guard.max_change, float):
        changes = case.state.recent(case.as_of).changes
        before = f", in which {changes:,} entered or left already" if changes else ""
        share = f"{100 * case.guard.max_change:.4g}%"
        return HoldReason.CHANGE, f"{counts}: more than the {share} that the guard allows within an hour{before}."
    return None


def silence(volume: Volume, usual: int) -> str:
    """What is known of a silent input: 'the source web sent 3 calls in 6 hours, where 12,400 are usual at this time',
    or 'no call of 'Order Completed''.
    """
    number = f"{volume.heard:,}" if volume.heard else "no"
    calls = f"{number} call{'' if volume.heard <= 1 else 's'}"
    if volume.event is not None:
        calls += f" of {volume.event!r}"
    return f"the source {volume.slug} sent {calls} in {_span(volume.span)}, where {usual:,} are usual at this time"


def _is_still_silent(hold: Hold | None, volume: Volume) -> bool:
    """What is usual is forgotten over days of silence; a hold remembers it."""
    remembered = _remembered(hold, volume)
    return remembered is not None and volume.is_below(remembered)


def _usual(hold: Hold | None, volume: Volume) -> int:
    return max(_remembered(hold, volume) or 0, volume.usual or 0)


def _remembered(hold: Hold | None, volume: Volume) -> int | None:
    if hold is None or (hold.source_id, hold.event) != (volume.source_id, volume.event):
        return None
    return hold.usual


def _span(length: timedelta) -> str:
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour")):
        if length % unit == timedelta(0):
            number = length // unit
            return f"{number} {name}{'' if number == 1 else 's'}"
    return f"{length // timedelta(minutes=1)} minutes"
