"""What an action would do, in numbers, and the fingerprint of everything those numbers follow from.

One function a kind of action, used when a card is made and again when it is committed: a card is void when any part of `seen` differs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tradeagent.agents.folder import load_agent
from tradeagent.assistant import drafts as drafting
from tradeagent.assistant import gates
from tradeagent.assistant.drafts import Bench
from tradeagent.assistant.gates import Gate
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import InvalidInput, RefusedError
from tradeagent.domain.limits import Limits, resolve_limits
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import CardKind, DeploymentState, HaltReason, LimitKind, Rule
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import free_margin
from tradeagent.execution.opening import costs_of, instruments_of, network_of
from tradeagent.execution.reading import read_state
from tradeagent.execution.state import RiskState, belongs_to
from tradeagent.ledger import drafts as draft_rows
from tradeagent.ledger import runs, trading, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.wallets import WalletRow
from tradeagent.workspace.claims import live_state
from tradeagent.workspace.latch import is_latched

AGENT = "agent"
# Figures that grow by themselves while nothing changes.
_MOVING = frozenset({"paper_days"})
_ENDED = (DeploymentState.STOPPED, DeploymentState.COMPLETED, DeploymentState.ERROR)


@dataclass(frozen=True, slots=True)
class Outlook:
    """`target` names what it is about; `phrase` is what a person must type as well, empty where a yes is enough."""

    target: str
    consequences: dict[str, Any]
    seen: dict[str, str]
    gates: list[Gate] = field(default_factory=list)
    phrase: str = ""

    @property
    def failed_gates(self) -> list[str]:
        return gates.failed(self.gates)


def outlook(bench: Bench, kind: CardKind, action: Mapping[str, Any]) -> Outlook:
    """What `action` would do as things are now. NotFound, InvalidInput or RefusedError when it can no longer be done."""
    if kind is CardKind.DEPLOY:
        return _deploy(bench, action)
    if kind is CardKind.STOP:
        return _stop(bench, action)
    if kind is CardKind.RESTART:
        return _restart(bench, action)
    if kind is CardKind.SAVE_DRAFT:
        return _save_draft(bench, action)
    if kind is CardKind.REBALANCE:
        return _rebalance(bench, action)
    if kind is CardKind.START_BACKTEST:
        return _backtest(bench, action)
    raise InvalidInput(f"kind: {kind.value} is not part of this version", hint="deploy, stop, restart, save_draft, rebalance")


def fingerprint(value: Any) -> str:
    """SHA-256 of a value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def require_idle(bench: Bench, wallet: str) -> None:
    """RefusedError when something runs on a wallet, or will go on there; a deployment or a transfer needs it for itself."""
    with bench.ledger.reading() as tx:
        row = next(iter(runs.all_deployments(tx, wallet=wallet, limit=1)), None)
    if row is None:
        return
    state = live_state(bench.workspace, row)
    if state.is_live or (state is DeploymentState.INTERRUPTED and row.source.get("deployed")):
        raise RefusedError(f"wallet {wallet} has a deployment", hint="stop that, or use another wallet", code="wallet_in_use")


def is_over(bench: Bench, row: DeploymentRow) -> bool:
    """Whether a run has ended for good; one that was interrupted has not."""
    return live_state(bench.workspace, row) in _ENDED


def _deploy(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    with bench.ledger.reading() as tx:
        wallet = wallets.get(tx, action["wallet"])
        state = read_state(tx, bench.config, wallet, bench.clock)
        newest = next(iter(runs.all_deployments(tx, wallet=wallet.name, limit=1)), None)
    if wallet.kind != action["kind"]:
        raise InvalidInput(
            f"wallet: {wallet.name!r} is for {wallet.kind}s, and {action['name']} is an {action['kind']}",
            hint=f"one of group {action['kind']}: `tradeagent wallet new NAME --group {action['kind']}`",
        )
    what, version, limits, found = _agent(bench, action, wallet) if action["kind"] == AGENT else _algo(bench, action, wallet)
    consequences = {
        **what,
        "wallet": _wallet(bench, state),
        "worst_case": _worst_case(state, limits),
        "limits": {key: "yes" if value is True else plain(value) for key, value in limits.values.items() if value},
        "gates": [gate.as_dict() for gate in found],
    }
    is_live = wallet.is_live
    seen = {
        "version": version,
        "wallet": fingerprint([wallet.venue, wallet.network, wallet.kind, wallet.limits]),
        "money of the wallet": _money(bench, state),
        "limits": fingerprint(limits.as_dict()),
        "run on the wallet": fingerprint(_run_of(bench, newest)),
        "gates": _gates_seen(found),
    }
    phrase = f"deploy {action['name']} live on {wallet.name}" if is_live else ""
    return Outlook(f"{action['name']} on {wallet.name}", consequences, seen, found, phrase)


def _algo(bench: Bench, action: Mapping[str, Any], wallet: WalletRow) -> tuple[dict[str, Any], str, Limits, list[Gate]]:
    from tradeagent.algos.store import find
    from tradeagent.research.backtest import Setup, params_text, spec_for
    from tradeagent.research.store import FILE_NAME

    stored = find(bench.ledger, action["name"])
    instrument = instruments_of(bench.config).get(action["market"])
    if instrument is None:
        raise InvalidInput(f"market: unknown market {action['market']!r}", hint="search_markets finds names")
    place = (action["market"], parse_duration(action["interval"]))
    params = params_text(action["params"], stored.spec)
    spec = spec_for(stored, Setup(action["venue"], *place, params=params))
    limits = algo_limits(bench, wallet)
    leverage, most = action["leverage"] or spec.leverage, limits.number("max_leverage")
    top = Decimal(instrument.max_leverage) if most is None else min(most, Decimal(instrument.max_leverage))
    if leverage > top:
        raise RefusedError(
            f"leverage: {leverage} is above {plain(top)}, so no entry would pass",
            hint=f"leverage {int(top)}",
            code=Rule.LEVERAGE.value,
        )
    results = bench.workspace.warehouse_dir / FILE_NAME
    with bench.ledger.reading() as tx:
        evidence = gates.evidence_of(tx, results, stored.hash, stored.name, place, bench.clock.now_ms())
    told = {
        "runs": f"algo {action['name']}",
        "on": f"{action['market']} {action['interval']} ({action['venue']})",
        "params": ", ".join(f"{name}={value}" for name, value in params.items()) or "the algo's own",
        "leverage": str(leverage),
        "sizing": f"{spec.sizing.kind.value} {plain(spec.sizing.value)}",
        "stop_with_each_entry": all(rules.exit.stop is not None for rules in (spec.long, spec.short) if rules is not None),
    }
    found = gates.algo_gates(evidence, gates.bounds_of(bench.config), is_live=wallet.is_live)
    return told, stored.hash, limits, found


def algo_limits(bench: Bench, wallet: WalletRow) -> Limits:
    """What an algo trades under that is deployed without a file of limits."""
    network = network_of(wallet)
    return resolve_limits(LimitKind.ALGO, {}, network=network, ceilings=bench.config.section("ceilings", network))


def _agent(bench: Bench, action: Mapping[str, Any], wallet: WalletRow) -> tuple[dict[str, Any], str, Limits, list[Gate]]:
    agent = load_agent(bench.workspace.agent_dir(action["name"]), bench.known)
    definition = agent.definition
    with bench.ledger.reading() as tx:
        newest = next(iter(runs.all_deployments(tx, slug=agent.slug, limit=1)), None)
        bounds, now = gates.bounds_of(bench.config), bench.clock.now_ms()
        found = gates.agent_gates(tx, agent.slug, newest.id if newest else None, bounds, now, is_live=wallet.is_live)
    cap = definition.budget.max_cost_per_day_usd
    told = {
        "runs": f"agent {agent.slug}",
        "on": ", ".join(definition.markets),
        "model": definition.model,
        "wakes": definition.tick_interval or f"{definition.cron} {definition.zone}",
        "approval": "each entry waits for you" if definition.approval == "copilot" else "none",
        "model_cost_usd": "no cap" if cap is None else f"at most {plain(cap)} a day",
    }
    return told, agent.payload_hash, agent.limits, found


def _wallet(bench: Bench, state: RiskState) -> dict[str, Any]:
    halted = _halt(bench, state)
    return {
        "name": state.wallet.name,
        "network": state.wallet.network,
        "equity_usdc": plain(state.equity),
        "free_usdc": shown(free_margin(state)),
        "open_positions": len(state.net),
        **({"halt": halted} if halted else {}),
    }


def _worst_case(state: RiskState, limits: Limits) -> dict[str, str]:
    """What the limits allow at most, USDC. Gaps and slippage come on top: a stop is an order, not a promise."""
    equity = max(ZERO, state.equity)

    def of(*caps: tuple[str, Decimal]) -> Decimal | None:
        found = [value * part for key, part in caps if (value := limits.number(key)) is not None]
        return min(found) if found else None

    share = equity / 100
    figures = {
        "largest_position_usdc": of(("max_position_size_quote", Decimal(1)), ("max_position_pct", share), ("max_leverage", equity)),
        "largest_exposure_usdc": of(("max_total_exposure_pct", share), ("max_leverage", equity)),
        "loss_a_day_until_halt_usdc": of(("max_daily_loss_quote", Decimal(1)), ("max_daily_loss_pct", share)),
        "loss_from_peak_until_flat_usdc": of(("halt_drawdown_pct", share)),
    }
    told = {key: "no limit" if value is None else shown(value) for key, value in figures.items()}
    return {**told, "beyond_that": "a gap or a thin market can cost more, at most all that is in the wallet"}


def _stop(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    with bench.ledger.reading() as tx:
        row = runs.get_deployment(tx, action["deployment"])
        state = read_state(tx, bench.config, wallets.get(tx, row.wallet), bench.clock)
    now = live_state(bench.workspace, row)
    if is_over(bench, row):
        raise RefusedError(f"deployment {row.id} is {now.value} already", hint="show_deployments lists what runs", code="gate_failed")
    held = [each for each in state.positions if each.size and each.controller_id != trading.NET and belongs_to(each.controller_id, row.id)]
    orders = [order for order in state.orders if belongs_to(order.controller_id, row.id)]
    entries = sorted(order.cloid for order in orders if not order.reduce_only)
    closes = bool(action["unwind"])
    costs = costs_of(bench.config)
    value = sum((abs(each.size) * (state.mark(each.market) or abs(each.cost / each.size)) for each in held), ZERO)
    consequences = {
        "stops": f"{row.kind} {row.slug}{f'@{row.version}' if row.version else ''}, {now.value}",
        "wallet": row.wallet,
        "positions": [_held(state, each) for each in held],
        "then": "are closed at market" if closes else "stay, with the stops that rest for them",
        "close_cost_usdc": shown(value * (costs.fees.taker + costs.slippage_bps / 10_000)) if closes else "0",
        "entries_cancelled": len(entries),
        "resting_exits": len(orders) - len(entries),
    }
    seen = {
        "deployment": fingerprint(_run_of(bench, row)),
        "positions": fingerprint(sorted([each.controller_id, each.market, plain(each.size), plain(each.cost)] for each in held)),
        "entries": fingerprint(entries),
        "costs": fingerprint([costs.fees.taker, costs.slippage_bps]),
    }
    return Outlook(row.id, consequences, seen)


def _held(state: RiskState, row: trading.PositionRow) -> dict[str, Any]:
    mark = state.mark(row.market)
    figures = {"market": row.market, "size_base": plain(row.size), "entry_usdc": shown(row.cost / row.size)}
    return figures | ({} if mark is None else {"unrealised_usdc": shown(row.size * mark - row.cost)})


def _restart(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    """What runs is stopped with its positions kept, then the same is deployed anew."""
    with bench.ledger.reading() as tx:
        row = runs.get_deployment(tx, action["deployment"])
    after = outlook(bench, CardKind.DEPLOY, action["deploy"])
    if is_over(bench, row):
        return Outlook(row.id, {"restarts": row.id, **after.consequences}, after.seen, after.gates, after.phrase)
    before = outlook(bench, CardKind.STOP, {"deployment": row.id, "unwind": False})
    seen = {**{f"stop {key}": value for key, value in before.seen.items()}, **after.seen}
    return Outlook(row.id, {"first": before.consequences, **after.consequences}, seen, after.gates, after.phrase)


def _save_draft(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    from tradeagent.agents.versions import Side, changes

    with bench.ledger.reading() as tx:
        row = draft_rows.get(tx, action["draft"])
    bad = drafting.unready(drafting.chips(bench, row))
    if bad:
        raise InvalidInput(f"draft {row.name}: {bad[0].section} is {bad[0].state}: {bad[0].why}", hint="set it, then prepare again")
    seen = {"draft": fingerprint([row.kind, row.name, row.body])}
    if row.kind == drafting.ALGO:
        return Outlook(f"algo {row.name}", {"becomes": f"the next version of algo {row.name}", "text": drafting.text_of(row)}, seen)
    slug, base = drafting.base_of(bench, row)
    agent_md, config_yml = drafting.texts_there(bench.workspace.agents_dir / slug)
    seen["folder"] = fingerprint([agent_md, config_yml])
    differing = changes(Side(None, agent_md or drafting.EMPTY, config_yml), Side(None, drafting.text_of(row), config_yml))
    consequences = {
        "becomes": f"agent {slug}" if base is None else f"the next version of agent {slug}",
        "file": f"{bench.workspace.agents_dir.name}/{slug}/agent.md",
        "changes": [change.in_short for change in differing],
        "runs": "nothing: it is in force from the next run",
        "text": drafting.text_of(row),
    }
    return Outlook(f"agent {slug}", consequences, seen)


def _rebalance(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    names = sorted({move[end] for move in action["transfers"] for end in ("from", "to")})
    moved = dict.fromkeys(names, ZERO)
    for move in action["transfers"]:
        moved[move["from"]] -= Decimal(move["amount_usdc"])
        moved[move["to"]] += Decimal(move["amount_usdc"])
    rows, seen = [], {}
    for name in names:
        with bench.ledger.reading() as tx:
            state = read_state(tx, bench.config, wallets.get(tx, name), bench.clock)
        require_idle(bench, name)
        seen[f"money of {name}"] = _money(bench, state)
        rows.append(
            {
                "wallet": name,
                "equity_usdc": plain(state.equity),
                "used_usdc": shown(state.equity - free_margin(state)),
                "free_usdc": shown(free_margin(state)),
                "after_usdc": plain(state.equity + moved[name]),
            }
        )
    return Outlook(", ".join(names), {"transfers": [dict(move) for move in action["transfers"]], "wallets": rows}, seen)


def _backtest(bench: Bench, action: Mapping[str, Any]) -> Outlook:
    from tradeagent.algos.store import find

    stored = find(bench.ledger, action["algo"])
    consequences = {"runs": f"tradeagent {' '.join(action['argv'])}", "as": "a job in the background", "counts": "as a try of this idea"}
    return Outlook(action["algo"], consequences, {"version": stored.hash})


def _money(bench: Bench, state: RiskState) -> str:
    held = sorted([row.market, plain(row.size), plain(row.cost)] for row in state.net.values())
    resting = sorted([order.cloid, plain(order.size - order.filled)] for order in state.orders if not order.reduce_only)
    return fingerprint([plain(state.risk.cash), _halt(bench, state), state.risk.lockout_ms, held, resting])


def _halt(bench: Bench, state: RiskState) -> str | None:
    """Why nothing enters on a wallet, a kill first."""
    is_killed = state.kill_switch or is_latched(bench.workspace.kill_dir, state.wallet.name)
    return HaltReason.KILL.value if is_killed else state.risk.halt


def _run_of(bench: Bench, row: DeploymentRow | None) -> list[Any]:
    return [] if row is None else [row.id, row.version, live_state(bench.workspace, row).value]


def _gates_seen(found: list[Gate]) -> str:
    return fingerprint([[gate.id, gate.passed, gate.bound, gate.source, None if gate.id in _MOVING else gate.figure] for gate in found])
