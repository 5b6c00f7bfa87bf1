"""Lines of a journal: what each says, how it is written, how it is read back (agents.md §4). Amounts are quote units."""

import re
from dataclasses import dataclass
from decimal import Decimal

from tradeagent.agents.text import cell, dollars, one_line, parse_dollars, signed_dollars

MINUTE = r"\d{4}-\d\d-\d\d \d\d:\d\d"
_AMOUNT = r"(?:unknown|[+-]?\$[0-9,]+\.\d\d)"
_TICK = re.compile(rf"- tick#(\d+) \| ({MINUTE}) \| actions=(\d+) \| (.*)")
_DECISION = re.compile(r"- \*\*(#\d+|[a-z_]+)\*\* \((\d\d:\d\d)\) (.*?)(?: \[verdict: ([^\]]*)\])?(?: -- (.*?))?(?: \[risk: ([^\]]*)\])?")
_EXECUTOR = re.compile(
    rf"- executor=([^ |]+) \| type=([^ |]+) \| ([^ |]+) ([^ |]+) \| amount=({_AMOUNT}) \| created=({MINUTE}) \| status=([^ |]+)"
    rf" \| pnl=({_AMOUNT}) \| volume=({_AMOUNT})"
)
_SNAPSHOT = re.compile(rf"- ({MINUTE}) \| pnl=({_AMOUNT}) \| volume=({_AMOUNT}) \| open=(\d+) \| exposure=({_AMOUNT})")
SUMMARY_PATTERNS = (
    re.compile(rf"(No ticks yet\.|Tick \d+ at {MINUTE} UTC, [a-z_]+)"),
    re.compile(rf"PnL {_AMOUNT} \(realised {_AMOUNT}\), \d+ open, exposure {_AMOUNT}"),
    re.compile(r"Last action: .*"),
)


@dataclass(frozen=True, slots=True)
class TickLine:
    """One tick: number, minute (`YYYY-MM-DD HH:MM`, UTC), actions taken, what was done."""

    tick: int
    minute: str
    actions: int
    text: str

    def render(self) -> str:
        return f"- tick#{self.tick} | {self.minute} | actions={self.actions} | {cell(self.text)}"


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A decision of a tick (`mark` `#42`) or an event (`error`, `tick_blocked`, `directive`); `minute` may carry its date.

    `text`, `reason` and `risk` are the agent's words, `verdict` is the engine's.
    """

    mark: str
    minute: str
    text: str
    reason: str = ""
    risk: str = ""
    verdict: str = ""

    def render(self) -> str:
        reason = f" -- {_inner(self.reason)}" if self.reason.strip() else ""
        risk = f" [risk: {one_line(self.risk, 120).replace(']', ')')}]" if self.risk.strip() else ""
        text = with_verdict(_inner(self.text), self.verdict)
        return f"- **{self.mark}** ({self.minute[-5:]}) {text}{reason}{risk}"


@dataclass(frozen=True, slots=True)
class ExecutorLine:
    """One executor; its line is rewritten in place as it changes. `pnl` None = unknown."""

    executor_id: str
    type: str
    market: str
    direction: str
    amount: Decimal
    created: str
    status: str
    pnl: Decimal | None
    volume: Decimal

    @property
    def key(self) -> str:
        return f"- executor={self.executor_id} "

    def render(self) -> str:
        return (
            f"{self.key}| type={self.type} | {self.market} {self.direction} | amount={dollars(self.amount)} | created={self.created}"
            f" | status={self.status} | pnl={signed_dollars(self.pnl)} | volume={dollars(self.volume)}"
        )


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """The account after a tick; None = unknown, because a mark is missing."""

    minute: str
    pnl: Decimal | None
    volume: Decimal
    open: int
    exposure: Decimal | None

    def render(self) -> str:
        return (
            f"- {self.minute} | pnl={signed_dollars(self.pnl)} | volume={dollars(self.volume)} | open={self.open}"
            f" | exposure={dollars(self.exposure)}"
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The three lines on top; PnL is net since the session began."""

    tick: int
    minute: str
    state: str
    pnl: Decimal | None
    realised: Decimal | None
    open: int
    exposure: Decimal | None
    last_action: str

    def render(self) -> tuple[str, str, str]:
        pnl = f"PnL {signed_dollars(self.pnl)} (realised {signed_dollars(self.realised)})"
        return (
            f"Tick {self.tick} at {self.minute} UTC, {self.state}",
            f"{pnl}, {self.open} open, exposure {dollars(self.exposure)}",
            f"Last action: {one_line(self.last_action, 200)}",
        )


def with_verdict(text: str, verdict: str) -> str:
    """What an agent said it did, and what the engine says of it; the agent's words cannot be taken for the engine's."""
    said = text.replace("[verdict:", "(verdict:")
    return f"{said} [verdict: {one_line(verdict, 200).replace(']', ')')}]" if verdict else said


def parse_tick(line: str) -> TickLine | None:
    match = _TICK.fullmatch(line.rstrip("\r"))
    return match and TickLine(int(match[1]), match[2], int(match[3]), match[4])


def parse_decision(line: str) -> DecisionLine | None:
    match = _DECISION.fullmatch(line.rstrip("\r"))
    return match and DecisionLine(match[1], match[2], match[3], match[5] or "", match[6] or "", match[4] or "")


def parse_executor(line: str) -> ExecutorLine | None:
    match = _EXECUTOR.fullmatch(line.rstrip("\r"))
    if match is None:
        return None
    amount, volume = parse_dollars(match[5]) or Decimal(0), parse_dollars(match[9]) or Decimal(0)
    return ExecutorLine(match[1], match[2], match[3], match[4], amount, match[6], match[7], parse_dollars(match[8]), volume)


def parse_snapshot(line: str) -> SnapshotLine | None:
    match = _SNAPSHOT.fullmatch(line.rstrip("\r"))
    if match is None:
        return None
    return SnapshotLine(match[1], parse_dollars(match[2]), parse_dollars(match[3]) or Decimal(0), int(match[4]), parse_dollars(match[5]))


def _inner(text: str) -> str:
    """Decision text that cannot be taken for its own separators."""
    return one_line(text, 400).replace(" -- ", " - ").replace("[risk:", "(risk:")
