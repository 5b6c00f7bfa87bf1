"""One backtest from question to stored answer: run, judge, count the try, tell it as a document, keep it; and make a kept one again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from tradeagent.algos.store import StoredAlgo, spec_of
from tradeagent.domain.clock import Clock
from tradeagent.domain.instrument import Instrument
from tradeagent.ledger import studies, trials
from tradeagent.ledger.store import Ledger
from tradeagent.market.warehouse import Warehouse
from tradeagent.research import store
from tradeagent.research.backtest import Loaded, Setup, from_config, kernel_version, load_all, run_setup, simulate, warm_up
from tradeagent.research.diagnostics import diagnose, exit_reasons, of_leg
from tradeagent.research.honesty import Evidence, Searched, cost_key, honesty, trial_of
from tradeagent.research.limits_impact import limits_impact, resolve
from tradeagent.research.lookahead import worst_of
from tradeagent.research.metrics import daily_returns
from tradeagent.research.result import ORDER, told
from tradeagent.research.run import Leg, Run, Trades
from tradeagent.research.sensitivity import sensitivity

JUDGED_BY = "algo"
MOST_JUDGED, ENOUGH_JUDGED = 5_000, 2_000


@dataclass(frozen=True, slots=True)
class Desk:
    """What a backtest works with: the ledger that counts tries, the stored bars, the results file, and the clock for ids and times.

    `allow_unsafe` is a person's word that Python algorithms may run where the system cannot lock them up.
    """

    ledger: Ledger
    warehouse: Warehouse
    results: Path
    clock: Clock
    allow_unsafe: bool = False

    def permitted(self, algo: StoredAlgo) -> StoredAlgo:
        """The algo with that word."""
        return replace(algo, spec=replace(algo.spec, may_run_unlocked=self.allow_unsafe))


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A result with what it was made from, a market each, for tables and charts."""

    document: dict[str, Any]
    loaded: tuple[Loaded, ...]
    run: Run
    setup: Setup


def perform(desk: Desk, algo: StoredAlgo, setup: Setup, *instruments: Instrument, search: Searched | None = None) -> Finished:
    """Run it, judge it, count it and keep it. `instruments` are those of the setup's markets, `search` is what found this point.

    Raises DataError without bars or with too few, InvalidInput `look_ahead` when a Python algorithm sees the future.
    """
    startup, began = time.process_time(), time.perf_counter()
    now_ms = desk.clock.now_ms()
    loaded = load_all(desk.warehouse, desk.permitted(algo), setup, instruments, now_ms)
    read = time.perf_counter()
    warm_up(loaded[0])
    ready = time.perf_counter()
    run, refusals = run_setup(loaded, setup)
    passed = time.perf_counter()
    identity = desk.clock.new_id()
    judged = _judged(desk, _Tried(algo, setup, identity, search), loaded, run)
    check_s, signals_s = sum(one.check_s for one in loaded), sum(one.signals_s for one in loaded)
    found = told(loaded, setup, run) | {
        "id": identity,
        "algo": algo.name,
        "version": algo.version,
        "algo_hash": algo.hash,
        "limits_impact": judged["limits_impact"],
        "refusals": None if refusals is None else refusals.as_dict(),
        "honesty": judged,
        "diagnostics": _diagnosed(run, loaded, setup),
        "kernel": kernel_version(),
        "elapsed_s": signals_s + passed - ready,
    }
    found["timings"] = {
        "startup_cpu_s": startup,
        "load_s": read - began - check_s - signals_s,
        "lookahead_s": check_s,
        "compile_s": ready - read,
        "signals_s": signals_s,
        "pass_s": passed - ready,
        "judge_s": time.perf_counter() - passed,
    }
    document = {key: found[key] for key in ORDER if key in found}
    config = setup.as_config() | {"text": algo.spec.text, "is_python": algo.spec.python is not None, "lineage": algo.lineage}
    bars = loaded[0].leg.bars
    kept = store.Stored(identity, now_ms, config, document, bars.time + bars.interval_ms, run.equity, run.trades)
    store.save(desk.results, kept)
    return Finished(document, loaded, run, setup)


def _diagnosed(run: Run, loaded: Sequence[Loaded], setup: Setup) -> dict[str, Any]:
    """Of one market all of it; of several how the trades of the account ended, and each market on its own under `markets`."""
    if len(loaded) == 1:
        return diagnose(run, loaded[0].leg, setup.terms, loaded[0].evaluator)
    markets = {
        one.leg.instrument.symbol: diagnose(of_leg(run, place), one.leg, setup.terms, one.evaluator) for place, one in enumerate(loaded)
    }
    return {"exit_reasons": exit_reasons(run.trades), "markets": markets}


@dataclass(frozen=True, slots=True)
class _Tried:
    """The question that a run answers, its id, and the search that it is the best of."""

    algo: StoredAlgo
    setup: Setup
    id: str
    search: Searched | None


def _judged(desk: Desk, tried: _Tried, loaded: Sequence[Loaded], run: Run) -> dict[str, Any]:
    """The honesty of a run, once it is counted as a try. Several markets together are an idea of their own."""
    legs, setup, terms = [one.leg for one in loaded], tried.setup, tried.setup.terms
    bars, spec = legs[0].bars, replace(legs[0].spec, market=setup.name)
    daily = daily_returns(run, bars, terms)
    costs = cost_key(terms, has_funding=setup.has_funding, limits=setup.limits)
    one = trial_of(tried.algo, spec, (int(bars.time[0]), int(bars.time[-1])), costs, f"backtest {tried.id}", daily)
    with desk.ledger.transaction() as tx:
        trials.add(tx, [one], desk.clock.now_ms())
        tries = trials.of_idea(tx, one.idea)
        search = tried.search or _newest_search(tx, one.idea)
    impact, judged_entries = _impact(run, legs, setup)
    worse = sensitivity(run, legs, terms, simulate)
    span_ms = int(bars.time[-1] - bars.time[0]) + bars.interval_ms
    lookahead = worst_of([one.lookahead for one in loaded])
    judged = honesty(Evidence(daily, setup.interval_ms, span_ms, tries, worse, lookahead.as_dict(), impact, search))
    if len(legs) > 1:
        judged["notes"]["pbo"] = "needs the trials of a search, and a search takes one market"
    if judged_entries < len(run.trades):
        judged["notes"]["limits_impact"] = f"estimated from {judged_entries:,} of {len(run.trades):,} entries"
    return judged


def _impact(run: Run, legs: Sequence[Leg], setup: Setup) -> tuple[dict[str, dict[str, int]], int]:
    """What limits would have done to the entries, and how many of them were judged.

    Judging one takes some 0.2 ms. The limits of an algo judge each entry by its account alone, so of very many a part stands for all.
    """
    limits, entries = resolve(setup.limits or JUDGED_BY), len(run.trades)
    if setup.limits or entries <= MOST_JUDGED:
        return limits_impact(run, legs, setup.terms, limits), entries
    every = -(-entries // ENOUGH_JUDGED)
    part = Trades(*(getattr(run.trades, name)[::every] for name in Trades.__slots__))
    found = limits_impact(replace(run, trades=part), legs, setup.terms, limits)
    still = len(run.open_trades)
    scale = (entries + still) / (len(part) + still)
    return {rule: {what: round(count * scale) for what, count in counts.items()} for rule, counts in found.items()}, len(part)


def _newest_search(tx: Connection, idea: str) -> Searched | None:
    """The newest finished optimisation of an idea that has a probability of overfitting."""
    for row in studies.listed(tx, "optimize"):
        if trials.idea_of(row.plan["algo"]["lineage"], row.plan["setup"]["market"]) == idea and row.result is not None:
            found = row.result.get("honesty", {}).get("pbo")
            if found is not None:
                return Searched(row.id, row.result["distinct"], float(found))
    return None


@dataclass(frozen=True, slots=True)
class Moved:
    """One thing that a result made again has different."""

    what: str
    before: Any
    now: Any


def again(desk: Desk, reference: str, instrument_of: Callable[[str, str], Instrument]) -> tuple[store.Stored, list[Moved]]:
    """Make a stored backtest again from its config on the data of today, and mark it; an empty list says that it is equal.

    Raises NotFound for an unknown id, DataError when its bars are gone.
    """
    kept = store.get(desk.results, reference)
    setup = from_config(kept.config)
    instruments = [instrument_of(setup.venue, market) for market in setup.markets]
    loaded = load_all(desk.warehouse, desk.permitted(_algo_of(kept)), setup, instruments, desk.clock.now_ms())
    run, _ = run_setup(loaded, setup)
    moved = _moved(kept, loaded, setup, run)
    store.mark(desk.results, kept.id, ", ".join(one.what for one in moved))
    return kept, moved


def _algo_of(kept: store.Stored) -> StoredAlgo:
    document, config = kept.document, kept.config
    spec = spec_of(config["text"], Path(f"{document['algo']}.{'py' if config['is_python'] else 'yml'}"))
    return StoredAlgo(replace(spec, name=document["algo"]), document["algo"], document["version"], document["algo_hash"], config["lineage"])


def _moved(kept: store.Stored, loaded: Sequence[Loaded], setup: Setup, run: Run) -> list[Moved]:
    before, now = kept.document, told(loaded, setup, run) | {"kernel": kernel_version()}
    found = [Moved("kernel", before["kernel"], now["kernel"])]
    found += [Moved(f"data.{key}", before["data"][key], now["data"][key]) for key in ("bars", "first", "last", "fingerprint")]
    for was, has in zip(before["data"].get("markets", ()), now["data"].get("markets", ()), strict=True):
        found += [Moved(f"data.{has['market']}.{key}", was[key], has[key]) for key in ("bars", "fingerprint")]
    found += [Moved(f"metrics.{key}", value, now["metrics"][key]) for key, value in before["metrics"].items()]
    found.append(Moved("equity", "", "" if np.array_equal(kept.equity, run.equity) else "another curve"))
    same = all(np.array_equal(getattr(kept.trades, name), getattr(run.trades, name)) for name in Trades.__slots__)
    found.append(Moved("trades", before["trades_count"], before["trades_count"] if same else now["trades_count"]))
    return [one for one in found if one.before != one.now or (one.what == "trades" and not same)]
