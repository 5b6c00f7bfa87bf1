"""What a tick leaves: one record, stored in the ledger row, from which every file of the tick is rendered (again, after a crash)."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tradeagent.agents.journal_lines import ExecutorLine
from tradeagent.agents.snapshots import ProviderRecord, SnapshotRecord, ToolCallRecord
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.exposure import total_worst_notional
from tradeagent.execution.state import RiskState
from tradeagent.tools.context import Decision, TurnNotes
from tradeagent.turns.prompt import Prompt
from tradeagent.turns.prompt_inputs import Providers
from tradeagent.turns.prompt_sections import provider_sections
from tradeagent.turns.snapshot import runtime_snapshot
from tradeagent.turns.turn import TurnResult


class TickState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    BLOCKED = "blocked"
    TIMEOUT = "timeout"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Figures:
    """The account after a tick: net PnL since the session began, its realised part, volume, open markets, exposure. Quote units."""

    pnl: Decimal = ZERO
    realised: Decimal = ZERO
    volume: Decimal = ZERO
    open: int = 0
    exposure: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One tick, complete. `rule` is what blocked it; `reason` how the turn ended; `calls` are its tool calls
    for the event feed, `verdicts` the door's answers as (kind, rule) and `answered` the same in words."""

    tick_id: str
    number: int
    started_ms: int
    state: TickState
    action: str
    rule: str | None = None
    reason: str = "stop"
    detail: str = ""
    actions: int = 0
    figures: Figures = field(default_factory=Figures)
    decisions: tuple[Decision, ...] = ()
    learnings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    canvas: Mapping[str, str] = field(default_factory=dict)
    reflection: Mapping[str, str] = field(default_factory=dict)
    directives: tuple[str, ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()
    verdicts: tuple[tuple[str, str | None], ...] = ()
    answered: str = ""
    defects: tuple[str, ...] = ()
    executors: tuple[ExecutorLine, ...] = ()
    snapshot: SnapshotRecord | None = None

    def headline(self) -> dict[str, Any]:
        """What the event feed and a one-line log say."""
        return {
            "tick": self.number,
            "state": self.state.value,
            "rule": self.rule,
            "action": self.action,
            "verdict": self.answered or None,
            "reason": self.reason,
            "pnl": plain(self.figures.pnl),
            "open": self.figures.open,
        }

    def to_bytes(self) -> bytes:
        """Compressed JSON for the ledger row."""
        data = _shallow(self)
        data["figures"] = _shallow(self.figures)
        data["decisions"] = [_shallow(decision) for decision in self.decisions]
        data["snapshot"] = self.snapshot.to_data() if self.snapshot else None
        data["defects"] = []
        data["executors"] = [_shallow(line) for line in self.executors]
        return zlib.compress(json.dumps(data, default=str, separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, stored: bytes) -> "TickRecord":
        """The inverse of `to_bytes`."""
        data = json.loads(zlib.decompress(stored))
        data["state"] = TickState(data["state"])
        stored_figures: dict[str, Any] = data["figures"]
        figures: dict[str, Any] = {key: value if key == "open" else Decimal(value) for key, value in stored_figures.items()}
        data["figures"] = Figures(**figures)
        data["decisions"] = tuple(Decision(**entry) for entry in data["decisions"])
        data["learnings"] = tuple((section, text) for section, text in data["learnings"])
        data["notes"] = tuple(data.get("notes", ()))
        data["directives"], data["calls"], data["defects"] = tuple(data["directives"]), tuple(data["calls"]), ()
        data["executors"] = tuple(_executor_in(line) for line in data.get("executors", []))
        data["verdicts"] = tuple((kind, rule) for kind, rule in data["verdicts"])
        data["snapshot"] = SnapshotRecord.from_data(data["snapshot"]) if data["snapshot"] else None
        return cls(**data)


def _executor_in(data: dict[str, Any]) -> ExecutorLine:
    money = {name: None if data[name] is None else Decimal(data[name]) for name in ("amount", "pnl", "volume")}
    return ExecutorLine(**{**data, **money})


def _shallow(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as they are; `asdict` copies every leaf."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Header:
    """What every record of a run repeats."""

    agent_id: str
    mode: Any
    model: str
    agent_hash: str
    config_hash: str
    is_session: bool
    experiment: int = 0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a tick saw before it asked its model: the wallet, and what the providers told from it."""

    state: RiskState
    providers: Providers


def turn_record(
    header: Header, base: TickRecord, looked: Looked, prompt: Prompt, turn: TurnResult, written: TurnNotes, ms: Mapping[str, int]
) -> TickRecord:
    """The record of a tick that asked its model."""
    timed_out = turn.reason in ("deadline", "first_token_timeout", "idle_timeout")
    decisions = tuple(written.decisions) or (_decision_of(written.verdicts, turn),)
    calls = tuple({"name": call.name, "status": call.status, "duration_ms": call.duration_ms} for call in turn.calls)
    return TickRecord(
        tick_id=base.tick_id,
        number=base.number,
        started_ms=base.started_ms,
        state=TickState.TIMEOUT if timed_out else (TickState.FAILED if turn.reason == "model_error" else TickState.DONE),
        action=decisions[-1].action,
        reason=turn.reason,
        detail=turn.detail,
        actions=sum(verdict.kind is VerdictKind.EXECUTED or verdict.closed is not None for verdict in written.verdicts),
        figures=base.figures,
        decisions=decisions,
        learnings=tuple(written.learnings),
        notes=tuple(written.notes),
        canvas=dict(written.canvas),
        reflection=dict(written.reflection),
        directives=base.directives,
        calls=calls,
        verdicts=tuple((verdict.kind.value, verdict.rule.value if verdict.rule else None) for verdict in written.verdicts),
        answered=answered(written.verdicts),
        defects=tuple(turn.defects),
        snapshot=_snapshot(header, base, looked, prompt, turn, ms, decisions[-1].action),
    )


def blocked_snapshot(header: Header, base: TickRecord, looked: Looked, ms: Mapping[str, int]) -> SnapshotRecord:
    """What an experiment leaves whose tick was blocked: the account, and why nobody was asked."""
    nothing = Prompt("", "", (), "")
    return _snapshot(header, base, looked, nothing, TurnResult(), ms, f"blocked: {base.rule}: {base.action}")


def _snapshot(
    header: Header, base: TickRecord, looked: Looked, prompt: Prompt, turn: TurnResult, ms: Mapping[str, int], outcome: str
) -> SnapshotRecord:
    layers = {layer.name: layer.text for layer in prompt.layers}
    return SnapshotRecord(
        kind="snapshot" if header.is_session else "experiment",
        number=base.number if header.is_session else header.experiment,
        agent_id=header.agent_id,
        at_ms=base.started_ms,
        mode=header.mode,
        model=header.model,
        agent_hash=header.agent_hash,
        config_hash=header.config_hash,
        prompt_hash=prompt.hash,
        outcome=outcome,
        duration_ms=sum(ms.values()),
        durations_ms=dict(ms),
        tokens_in=turn.usage.tokens_in,
        tokens_out=turn.usage.tokens_out,
        cost_usd=turn.usage.cost_usd,
        model_calls=turn.model_calls,
        system_prompt=prompt.system,
        user_prompt=prompt.user,
        providers=_provider_records(looked),
        risk_state=layers.get("risk_state", ""),
        response=turn.text,
        tool_calls=tuple(
            ToolCallRecord(
                number=call.number,
                name=call.name,
                status=call.status,
                arguments=call.arguments,
                verdict=_verdict_text(call.result),
                result=json.dumps(call.result, ensure_ascii=False),
            )
            for call in turn.calls
        ),
    )


def _provider_records(looked: Looked) -> tuple[ProviderRecord, ...]:
    """Each provider with its figures as `wallet show` names them, and in the words of the prompt."""
    account = runtime_snapshot(looked.state).as_dict()
    positions, orders = account.pop("positions"), account.pop("open_orders")
    told = looked.providers
    data = {
        "executors": told.executors and [_shallow(line) for line in told.executors],
        "positions": positions,
        "orders": orders,
        "account": account,
        "market": told.markets and [_shallow(line) for line in told.markets],
    }
    summaries = provider_sections(told)
    titles = {"market": "Markets"}
    return tuple(
        ProviderRecord(name, "\n".join(summaries[titles.get(name, name.capitalize())]), json.dumps(found, default=str))
        for name, found in data.items()
    )


def _verdict_text(result: Mapping[str, Any]) -> str:
    return json.dumps({key: result[key] for key in ("verdict", "rule") if key in result}) if "verdict" in result else ""


def _decision_of(verdicts: Sequence[Verdict], turn: TurnResult) -> Decision:
    """The decision of a model that wrote none: what it proposed."""
    reasoning = turn.text.strip().split("\n")[0][:300]
    if not verdicts:
        return Decision("no action" if turn.reason == "stop" else f"no action ({turn.reason})", reasoning)
    orders = [verdict.order or {} for verdict in verdicts]
    words = [" ".join(str(order[key]) for key in ("side", "size", "market") if order.get(key)) for order in orders]
    return Decision("; ".join(filter(None, words)) or "proposed", reasoning)


def answered(verdicts: Sequence[Verdict]) -> str:
    """What the door answered, in words; empty when it was not asked."""
    return ", ".join(map(_in_words, verdicts))


def _in_words(verdict: Verdict) -> str:
    """`executed`, or `rejected SINGLE_ORDER (max_ok 0.00118)`; of a flip, what it closed before."""
    told = f"{verdict.kind.value} {verdict.rule}" if verdict.rule else verdict.kind.value
    if verdict.rejection is not None and verdict.rejection.max_ok is not None:
        told += f" (max_ok {verdict.rejection.max_ok})"
    return told if verdict.closed is None else f"closed {verdict.closed['size']} {verdict.closed['market']}, then {told}"


def figures_of(state: RiskState, baseline: "Baseline", volume: Decimal) -> Figures:
    """The session's figures from the wallet's running totals."""
    risk = state.risk
    realised = risk.realised - risk.fees - risk.funding
    return Figures(
        pnl=state.equity - baseline.equity - (risk.flows - baseline.flows),
        realised=realised - baseline.realised_net,
        volume=volume,
        open=len(state.net),
        exposure=total_worst_notional(state),
    )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The wallet's totals when the run began, quote units; `realised` is gross."""

    equity: Decimal = ZERO
    flows: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    @property
    def realised_net(self) -> Decimal:
        return self.realised - self.fees - self.funding
