"""Gates of a deployment: what an algorithm should have shown before it gets a wallet, with figure, bound and where it comes from.

They warn; a person may override them, and the override is recorded. The evidence is what is stored of exactly that version.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import DAY_MS, parse_instant
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import DeploymentState, SuggestionState
from tradeagent.ledger import approvals, runs, studies, suggestions
from tradeagent.workspace.config import Config

PASSED = "pass"


@dataclass(frozen=True, slots=True)
class Gate:
    """`figure` is None when there is no evidence, which does not pass; `source` names the stored result it comes from."""

    id: str
    passed: bool
    figure: str | None
    bound: str
    source: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of config.yml, section `gates`."""

    min_days: Decimal
    min_trades: Decimal
    min_sharpe: Decimal
    max_drawdown_pct: Decimal
    min_deflated_sharpe: Decimal
    max_pbo: Decimal
    min_paper_days: Decimal


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an algo's version on a market and interval: its newest stored backtest and validation, as documents."""

    backtest: Mapping[str, Any] | None
    validation: Mapping[str, Any] | None
    paper_days: float


def bounds_of(config: Config) -> Bounds:
    return Bounds(**{key: Decimal(str(value)) for key, value in config.section("gates").items()})


def evidence_of(tx: Connection, results: Path, algo_hash: str, name: str, place: tuple[str, int], now_ms: int) -> Evidence:
    """The evidence for an algo by its hash; `place` is market and interval in ms."""
    from tradeagent.research import store

    market, interval_ms = place
    complete = (row for row in studies.listed(tx, "cv") if row.state == studies.COMPLETE and row.result is not None)
    validation = next((row.result for row in complete if _is_of(row.plan, algo_hash, market, interval_ms)), None)
    return Evidence(store.newest_document(results, algo_hash, market, interval_ms), validation, paper_days(tx, name, now_ms))


def paper_days(tx: Connection, slug: str, now_ms: int) -> float:
    """Days that runs of an agent or algo have been on a wallet by the wall clock; replays do not count."""
    rows = [row for row in runs.all_deployments(tx, slug=slug) if not row.source.get("replay")]
    spans = [
        (row.ended_ms or (now_ms if DeploymentState(row.state).is_live else row.last_tick_ms) or row.created_ms) - row.created_ms
        for row in rows
    ]
    return sum(spans) / DAY_MS


def algo_gates(evidence: Evidence, bounds: Bounds, *, is_live: bool = False) -> list[Gate]:
    """The gates of an algo, in the order they are shown. Bounds follow assistant.md §4: ≥, > and < as written there."""
    found = [*_of_backtest(evidence.backtest, bounds), _of_validation(evidence.validation)]
    if is_live:
        found.append(_paper(evidence.paper_days, bounds))
    return found


def agent_gates(tx: Connection, slug: str, deployment: str | None, bounds: Bounds, now_ms: int, *, is_live: bool = False) -> list[Gate]:
    """The gates of an agent: nothing that waits for the person, and before a live wallet its days on paper."""
    open_ones = len(suggestions.of_agent(tx, slug, state=SuggestionState.OPEN))
    asked = sum(row["deployment"] == deployment for row in approvals.waiting(tx)) if deployment else 0
    gates = [
        Gate("approvals", not open_ones + asked, str(open_ones + asked), "0 open", f"agent {slug}", "suggestions and approvals that wait")
    ]
    if is_live:
        gates.append(_paper(paper_days(tx, slug, now_ms), bounds))
    return gates


def failed(gates: Sequence[Gate]) -> list[str]:
    """Ids of those that do not pass."""
    return [gate.id for gate in gates if not gate.passed]


def _of_backtest(document: Mapping[str, Any] | None, bounds: Bounds) -> Iterator[Gate]:
    if document is None:
        note = "no stored backtest of this version on this market and interval: `tradeagent backtest run` makes one"
        yield Gate("backtest", False, None, "stored", "", note)
        return
    source, metrics, honesty, data = f"backtest {document['id']}", document["metrics"], document["honesty"], document["data"]
    opens = parse_instant(data["last"], "last") - parse_instant(data["first"], "first")
    days = (opens + parse_duration(data["interval"])) / DAY_MS
    yield _least("backtest_days", days, bounds.min_days, source, f"{data['first'][:10]} to {data['last'][:10]}")
    yield _least("trades", document["trades_count"], bounds.min_trades, source)
    yield _above("sharpe", metrics["sharpe"], bounds.min_sharpe, source)
    drawdown = _exact(metrics["max_drawdown_pct"])
    passed = drawdown is not None and drawdown < bounds.max_drawdown_pct
    yield Gate("max_drawdown_pct", passed, _text(drawdown), f"< {bounds.max_drawdown_pct}", source)
    tries = honesty["trials"]
    yield _least("deflated_sharpe", honesty["deflated_sharpe"], bounds.min_deflated_sharpe, source, f"{tries} trials of the idea")
    if tries > 1:
        yield _most("pbo", honesty["pbo"], bounds.max_pbo, source, honesty["notes"].get("pbo", ""))
    yield _above("costs_x2", honesty["costs_x2"]["total_return_pct"], ZERO, source, "return in percent when costs double")
    refused = {
        rule: count["refused"] for rule, count in document["limits_impact"].items() if isinstance(count, Mapping) and count["refused"]
    }
    told = ", ".join(f"{rule} {count}" for rule, count in refused.items()) or "nothing refused"
    yield Gate("limits_impact", True, told, "shown", source, "what the algo limits would have refused")


def _of_validation(result: Mapping[str, Any] | None) -> Gate:
    if result is None:
        return Gate("rolling_cv", False, None, PASSED, "", "no finished validation of this version here: `tradeagent cv run` makes one")
    verdict = str(result["verdict"])
    return Gate("rolling_cv", verdict == PASSED, verdict, PASSED, f"cv {result['id']}", f"{len(result['folds'])} folds")


def _paper(days: float, bounds: Bounds) -> Gate:
    return _least("paper_days", days, bounds.min_paper_days, "ledger", "days on paper by the wall clock")


def _least(name: str, value: float | None, bound: Decimal, source: str, note: str = "") -> Gate:
    figure = _exact(value)
    return Gate(name, figure is not None and figure >= bound, _text(figure), f"≥ {bound}", source, note)


def _above(name: str, value: float | None, bound: Decimal, source: str, note: str = "") -> Gate:
    figure = _exact(value)
    return Gate(name, figure is not None and figure > bound, _text(figure), f"> {bound}", source, note)


def _most(name: str, value: float | None, bound: Decimal, source: str, note: str = "") -> Gate:
    figure = _exact(value)
    return Gate(name, figure is not None and figure <= bound, _text(figure), f"≤ {bound}", source, note)


def _exact(value: float | None) -> Decimal | None:
    """A figure as the decimal it is written as, so that 0.95 reaches 0.95; infinite or missing ones count as none."""
    return Decimal(repr(value)) if value is not None and math.isfinite(value) else None


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(round(value, 4))


def _is_of(plan: Mapping[str, Any], algo_hash: str, market: str, interval_ms: int) -> bool:
    setup = plan["setup"]
    return bool(plan["algo"]["hash"] == algo_hash and (setup["market"], setup["interval_ms"]) == (market, interval_ms))
