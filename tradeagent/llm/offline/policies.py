"""The policies by name: each reads a context and the tools offered and answers with a plan. Pure and deterministic."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from tradeagent.domain.clock import MINUTE_MS
from tradeagent.llm.offline import signals
from tradeagent.llm.offline.context import Bars, Context, Holding
from tradeagent.llm.offline.reflecting import reflect
from tradeagent.llm.offline.trade import Call, entry, tighter_stop

_MIN_BARS = 24
_TOOL_OF_ENTRY = "propose_order"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to call and what to say of it; `learning` is (section, text), `reflection` a note by slot."""

    action: str
    reasoning: str
    risk_note: str
    calls: tuple[Call, ...] = ()
    learning: tuple[str, str] | None = None
    reflection: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """A strategy: when to enter, when to leave, and after how many bars to give up (config max_hold_bars)."""

    enter: Callable[[Bars, Context], signals.Signal]
    leave: Callable[[Bars, Context, int], str | None]
    max_hold_bars: int


Policy = Callable[[Context, Set[str]], Plan]


def _trading(rules: Rules) -> Policy:
    def decide(context: Context, tools: Set[str]) -> Plan:
        if context.holdings is None:
            return Plan("hold", "positions are unknown, so nothing is added or closed", "positions unknown")
        held = {holding.market: holding for holding in context.holdings}
        calls: list[Call] = []
        said: list[str] = []
        entered = False
        for bars in context.bars:
            if len(bars.closes) < _MIN_BARS:
                said.append(f"{bars.market}: {len(bars.closes)} bars are too few")
                continue
            holding = held.get(bars.market)
            step = _manage(holding, rules, bars, context) if holding else _open(rules, bars, context)
            if isinstance(step, str):
                said.append(f"{bars.market}: {step}")
            elif step.name not in tools or (entered and step.name == _TOOL_OF_ENTRY):
                said.append(f"{bars.market}: would {step.name} ({step.arguments['reason']}), not possible in this turn")
            else:
                calls.append(step)
                said.append(f"{bars.market}: {step.arguments['reason']}")
                entered = entered or step.name == _TOOL_OF_ENTRY
        action = ", ".join(_named(call) for call in calls) or "hold"
        reflection = reflect(context.reflection_due)
        reasoning = "; ".join(said) or "no bars in the prompt"
        return Plan(action, reasoning, _risk_note(calls, context), tuple(calls), _learning(context), reflection)

    return decide


def _hold(_context: Context, _tools: Set[str]) -> Plan:
    return Plan("hold", "this policy never trades", "none")


POLICIES: Mapping[str, Policy] = {
    "momentum": _trading(Rules(signals.momentum, signals.momentum_exit, 16)),
    "mean_reversion": _trading(Rules(signals.mean_reversion, signals.mean_reversion_exit, 16)),
    "breakout": _trading(Rules(signals.breakout, signals.breakout_exit, 32)),
    "hold": _hold,
}


def _open(rules: Rules, bars: Bars, context: Context) -> Call | str:
    signal = rules.enter(bars, context)
    return entry(signal, bars, context) if signal.direction else signal.reason


def _manage(holding: Holding, rules: Rules, bars: Bars, context: Context) -> Call | str:
    reason = rules.leave(bars, context, holding.sign) or _too_long(holding, rules, bars, context)
    if reason is not None:
        return Call("close_position", {"market": holding.market, "reason": reason})
    return tighter_stop(holding, bars, context) or "position kept, stop where it is"


def _too_long(holding: Holding, rules: Rules, bars: Bars, context: Context) -> str | None:
    if holding.opened_ms is None:
        return None
    held = (context.now_ms - holding.opened_ms) // bars.interval_ms
    most = context.number("max_hold_bars", rules.max_hold_bars)
    return f"held {held} bars, the most is {most:g}" if held >= most else None


def _named(call: Call) -> str:
    side = f" {call.arguments['side']}" if "side" in call.arguments else ""
    return f"{call.name}{side} {call.arguments['market']}"


def _risk_note(calls: list[Call], context: Context) -> str:
    entries = [call for call in calls if call.name == _TOOL_OF_ENTRY]
    if entries:
        return f"{entries[0].arguments['quote']} USDC with the stop at {entries[0].arguments['stop']}"
    return f"{len(context.holdings or ())} open"


def _learning(context: Context) -> tuple[str, str] | None:
    """Rarely: after a trade of 2 R or more, or a fourth loss in a row, that closed since the last tick."""
    trips = sorted(context.trips, key=lambda trip: trip.closed_ms)
    if not trips or context.now_ms - trips[-1].closed_ms > context.interval_ms:
        return None
    last = trips[-1]
    losses = 0
    for trip in reversed(trips):
        if trip.pnl >= 0:
            break
        losses += 1
    if last.r_multiple is not None and last.r_multiple >= 2:
        hours = (last.held_minutes or 0) * MINUTE_MS / 3_600_000
        return "Active insights", f"{last.market} {last.side} paid {last.r_multiple:.1f} R in {hours:.1f} h, closed by {last.exit_reason}"
    if losses == 4:
        return (
            "Execution notes",
            f"{losses} losses in a row on {last.market}, the last {last.side} closed by {last.exit_reason}: the regime may not fit",
        )
    return None
