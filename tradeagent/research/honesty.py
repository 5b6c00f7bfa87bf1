"""How far a result can be trusted: how often the idea was tried, what luck alone would give, and what happens under worse assumptions.

Every figure is computed with every run; one that needs more than there is says so in `notes`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tradeagent.algos.bars import Floats
from tradeagent.algos.params import params_of
from tradeagent.algos.spec import AlgoSpec
from tradeagent.algos.store import StoredAlgo
from tradeagent.domain.clock import DAY_MS
from tradeagent.ledger.trials import Trial, Tries, idea_of, key_of
from tradeagent.research.metrics import Metrics, periods_per_year, sharpe_of
from tradeagent.research.run import Terms
from tradeagent.research.statistics import bootstrap, dsr, expected_maximum, psr, variance_of

FEWEST_DAYS = 30


def trial_of(algo: StoredAlgo, spec: AlgoSpec, span: tuple[int, int], costs: Mapping[str, object], source: str, daily: Floats) -> Trial:
    """The try that a run is. `span` is the open of its first and last bar (UTC ms); all parameters count, also those left as they were."""
    known = params_of(spec) if spec.python is None else dict(spec.constants)
    key = key_of(algo.hash, known, (spec.market, spec.interval_ms, *span), costs)
    return Trial(key, idea_of(algo.lineage, spec.market), source, sharpe_of(daily))


def cost_key(terms: Terms, *, has_funding: bool, limits: str | None = None) -> dict[str, object]:
    """The terms that make two tries of the same algo different."""
    return {
        **terms.as_config(),
        "funding": has_funding,
        "limits": limits,
    }


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found out about itself: distinct trials, and the probability that its best is overfitted, None when there are too
    few of them or of `days`."""

    id: str
    trials: int
    pbo: float | None
    days: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What honesty is computed from. `span_ms` runs from the first open to the last close; `search` is the one that found this point,
    else the newest of the idea that knows its probability of overfitting."""

    daily: Floats
    interval_ms: int
    span_ms: int
    tries: Tries
    sensitivity: Mapping[str, Metrics]
    lookahead: Mapping[str, Any]
    limits_impact: Mapping[str, Any]
    search: Searched | None = None
    seed: int = 0


def honesty(evidence: Evidence) -> dict[str, Any]:
    """The honesty keys of research.md §8, and `notes` by key for what is null or needs a word."""
    daily, tries = evidence.daily, evidence.tries
    threshold = expected_maximum(tries.count, variance_of(tries.sharpes))
    intervals = bootstrap(daily, max(DAY_MS, evidence.interval_ms), span_ms=evidence.span_ms, seed=evidence.seed)
    return {
        "trials": tries.count,
        "sharpe_threshold": threshold * math.sqrt(periods_per_year(evidence.interval_ms)),
        "psr": psr(daily),
        "deflated_sharpe": dsr(daily, tries.count, tries.sharpes),
        "pbo": None if evidence.search is None else evidence.search.pbo,
        "ci": intervals.as_dict(),
        **evidence.sensitivity,
        "lookahead": evidence.lookahead,
        "limits_impact": evidence.limits_impact,
        "notes": _notes(evidence),
    }


def _notes(evidence: Evidence) -> dict[str, str]:
    periods, tries = len(evidence.daily), evidence.tries
    found = {}
    unit = "days" if evidence.interval_ms <= DAY_MS else "bars"
    if periods < FEWEST_DAYS:
        found["psr"] = found["deflated_sharpe"] = f"needs {FEWEST_DAYS} {unit}; there are {periods}"
        found["ci"] = f"from {periods} {unit} only: not to be relied on"
    elif sharpe_of(evidence.daily) is None:
        found["psr"] = found["deflated_sharpe"] = "needs returns that vary"
    if tries.count == 1:
        found["sharpe_threshold"] = "the first try at this idea: nothing to deflate yet; further tries are counted"
    elif len(tries.sharpes) < 2:
        found["sharpe_threshold"] = "needs two tries whose returns vary"
    found["pbo"] = _of_search(evidence.search)
    for key, changed in evidence.sensitivity.items():
        if changed["skipped"]:
            found[key] = f"{changed['skipped']:,} more entries were skipped for want of margin"
    return found


def _of_search(search: Searched | None) -> str:
    if search is None:
        return "needs at least 2 trials of one search: tradeagent optimize run"
    name = f"search …{search.id[-6:]}"
    if search.pbo is None:
        return f"needs 2 distinct trials and 80 days; {name} has {search.trials} and {search.days}"
    return f"of {name}, {search.trials:,} trials; one search says little: pure noise gives anything from 0.1 to 0.9, and 0.5 on average"
