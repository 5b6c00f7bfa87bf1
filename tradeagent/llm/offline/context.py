"""Reads the structured sections of an agent's prompt back into values, for models that are rules.

The grammar, written by `tradeagent.turns.prompt` and read here:

    ## Title                  a section; only the renderer writes lines that start so, free text has its headings demoted to `###`
    key=value key="a b"       a record, one per line; values with blanks or quotes are JSON strings; `none`, `off`, `unknown`: no number
    time,open,high,…          under `## Bars MARKET INTERVAL`: CSV of closed bars, oldest first, times like 2026-11-20T12:05Z
    <untrusted …>…            text from outside; skipped
    [cut: …]                  what was left out; skipped
    unknown: reason           the section's source failed; nothing may be concluded from its emptiness

Sections read: Tick (agent, tick, now, interval), Config, Limits (`key=cap` or `key=cap used=… left=…`), Account, Positions, Markets,
Bars, Round trips, Reflection due, Alert. A section that appears again replaces the earlier one.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import MINUTE_MS, to_ms
from tradeagent.domain.errors import InvalidInput
from tradeagent.llm.contract import Message

MESSAGE_SECTION = "## Message from the user"
_PAIR = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)')
_MARKS = frozenset(("", "<", "[", "#"))  # how a line begins that may be more than content
_HEADER = "time,open,high,low,close,volume"
Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars of one market, oldest first; all columns have one length ≥ 1."""

    market: str
    interval_ms: int
    highs: tuple[float, ...]
    lows: tuple[float, ...]
    closes: tuple[float, ...]
    volumes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """An open position as the prompt shows it; `sign` is 1 long, −1 short; prices in quote units."""

    market: str
    sign: int
    entry: float
    stop: float | None
    break_even: float | None
    opened_ms: int | None


@dataclass(frozen=True, slots=True)
class Trip:
    """A closed round trip."""

    market: str
    side: str
    pnl: float
    r_multiple: float | None
    held_minutes: float | None
    exit_reason: str
    closed_ms: int


@dataclass(frozen=True, slots=True)
class Context:
    """What a policy decides from. `holdings` None = unknown, which is not flat; `left` is what is left of `caps`, None = off."""

    now_ms: int
    interval_ms: int
    config: Record
    caps: Mapping[str, float | None]
    left: Mapping[str, float | None]
    equity: float | None
    free_margin: float | None
    holdings: tuple[Holding, ...] | None
    marks: Mapping[str, float]
    bars: tuple[Bars, ...]
    trips: tuple[Trip, ...]
    reflection_due: tuple[Record, ...]
    alert: str

    def number(self, key: str, default: float) -> float:
        """A config value as a number, or `default` when absent or not one."""
        found = _number(self.config.get(key))
        return default if found is None else found


def read_context(messages: Sequence[Message]) -> Context | None:
    """The context of the last prompt in the conversation, or None when there is none (no `## Tick` section)."""
    text = "\n".join(message.content for message in messages if message.role in ("system", "user"))
    sections = _sections(text.split("\n"))
    tick = _merged(sections.get("Tick", ()))
    if "now" not in tick:
        return None
    account = _merged(sections.get("Account", ()))
    limits = [limit for line in sections.get("Limits", ()) if (limit := _limit(line)) is not None]
    markets = _records(sections.get("Markets", ())) or ()
    holdings = _records(sections.get("Positions", ()))
    return Context(
        now_ms=_time(tick["now"]) or 0,
        interval_ms=_interval(tick.get("interval", "")),
        config=_merged(sections.get("Config", ())),
        caps={key: cap for key, cap, _ in limits},
        left={key: left for key, _, left in limits},
        equity=_number(account.get("equity")),
        free_margin=_number(account.get("free_margin")),
        holdings=None if holdings is None else tuple(_holding(record) for record in holdings if "entry" in record),
        marks={record["market"]: mark for record in markets if (mark := _number(record.get("mark"))) is not None},
        bars=tuple(found for title, lines in sections.items() if (found := _bars(title, lines)) is not None),
        trips=tuple(trip for record in _records(sections.get("Round trips", ())) or () if (trip := _trip(record)) is not None),
        reflection_due=tuple(_records(sections.get("Reflection due", ())) or ()),
        alert="\n".join(sections.get("Alert", ())),
    )


def _sections(lines: Iterable[str]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    enveloped = False
    for line in lines:
        if not enveloped and line[:1] not in _MARKS:
            current.append(line)
        elif line.startswith("<untrusted "):
            enveloped = True
        elif line.startswith("</untrusted>"):
            enveloped = False
        elif enveloped or not line or line.startswith("[cut"):
            continue
        elif line.startswith("## "):
            current = sections[line[3:].strip()] = []
        else:
            current.append(line)
    return sections


@lru_cache(maxsize=1024)
def _record(line: str) -> Record:
    """One line's pairs; most lines are as in the prompt before."""
    return {key: json.loads(value) if value.startswith('"') else value for key, value in _PAIR.findall(line)}


@lru_cache(maxsize=1024)
def _limit(line: str) -> tuple[str, float | None, float | None] | None:
    """Key, cap and what is left of it, which is the cap itself where nothing adds up; None for a line without a record."""
    pairs = _record(line)
    key = next(iter(pairs), None)
    return None if key is None else (key, _number(pairs[key]), _number(pairs.get("left", pairs[key])))


def _records(lines: Sequence[str]) -> list[Record] | None:
    """One record a line, [] for `none`, None when the section is absent or says unknown."""
    if not lines or lines[0].startswith("unknown"):
        return None
    return [record for line in lines if (record := _record(line))]


def _merged(lines: Sequence[str]) -> dict[str, str]:
    return {key: value for line in lines for key, value in _record(line).items()}


def _bars(title: str, lines: Sequence[str]) -> Bars | None:
    words = title.split()
    if len(words) != 3 or words[0] != "Bars" or len(lines) < 2 or lines[0] != _HEADER:
        return None
    highs, lows, closes, volumes = zip(*map(_bar, lines[1:]), strict=True)
    return Bars(words[1], _interval(words[2]), highs, lows, closes, volumes)


@lru_cache(maxsize=8192)
def _bar(line: str) -> tuple[float, float, float, float]:
    """High, low, close and volume of one line; nearly all of a prompt's bars were in the prompt before it."""
    _, _, high, low, close, volume = line.split(",")
    return float(high), float(low), float(close), float(volume)


def _holding(record: Record) -> Holding:
    return Holding(
        market=record["market"],
        sign=1 if record.get("side") == "long" else -1,
        entry=float(record["entry"]),
        stop=_number(record.get("stop")),
        break_even=_number(record.get("break_even")),
        opened_ms=_time(record.get("opened", "")),
    )


def _trip(record: Record) -> Trip | None:
    closed = _time(record.get("closed", ""))
    if closed is None:
        return None
    return Trip(
        market=record["market"],
        side=record.get("side", ""),
        pnl=_number(record.get("pnl")) or 0.0,
        r_multiple=_number(record.get("r")),
        held_minutes=_number(record.get("held_min")),
        exit_reason=record.get("exit", ""),
        closed_ms=closed,
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _time(text: str) -> int | None:
    try:
        return to_ms(datetime.fromisoformat(text))
    except ValueError:
        return None


def _interval(text: str) -> int:
    try:
        return parse_duration(text)
    except InvalidInput:
        return 5 * MINUTE_MS
