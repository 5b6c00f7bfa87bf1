"""What an algo is launched with: checked once when it is deployed, kept in the row of its deployment, and read back at every start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tradeagent.algos.bars import Bars
from tradeagent.algos.spec import AlgoSpec, Param, SideRules, SizingKind
from tradeagent.algos.store import StoredAlgo, find, kind_of
from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.errors import InvalidConfig, InvalidInput, RefusedError
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import Limits, resolve_limits
from tradeagent.domain.money import plain
from tradeagent.domain.names import LimitKind, Rule
from tradeagent.execution.opening import costs_of, instruments_of, network_of
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.wallets import WalletRow
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.readers import columns
from tradeagent.market.replay import ReplaySource, parse_replay
from tradeagent.market.series import SeriesKey
from tradeagent.market.stored_feed import finest
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import Setup, params_text, require_enough, spec_for
from tradeagent.research.lookahead import check
from tradeagent.research.run import Terms
from tradeagent.runtime.deploy import DeployRequest
from tradeagent.runtime.ground import Pace, pace_of
from tradeagent.runtime.place import Place
from tradeagent.workspace.config import Config
from tradeagent.workspace.yaml_text import read_yaml

HISTORY_BARS = 5_000
WARMUPS = 8


@dataclass(frozen=True, slots=True)
class Launch:
    """A deployment of an algo. Times UTC ms. Signals are computed from the bar that opens at `origin_ms` on (None: from the first), so
    that a restart sees what the run saw; nothing is decided on bars that closed at or before `begin_ms`."""

    algo: str
    hash: str
    venue: str
    market: str
    interval_ms: int
    params: Mapping[str, Param]
    leverage: int | None
    pace: Pace
    unsafe_python: bool = False
    origin_ms: int | None = None
    begin_ms: int | None = None

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.venue, self.market, self.interval_ms)

    def as_source(self) -> dict[str, Any]:
        """JSON for the row of the deployment."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "pace"}
        params = {name: value if isinstance(value, str | int) else plain(value) for name, value in self.params.items()}
        return {**shown, **self.pace.as_source(), "params": params, "deployed": True}


def launch_of(row: DeploymentRow) -> Launch:
    """The launch that a row was made with."""
    kept = {name: row.source[name] for name in Launch.__dataclass_fields__ if name != "pace"}
    return Launch(**kept, pace=pace_of(row))


@dataclass(frozen=True, slots=True)
class Checked:
    """An algo that may be deployed: its launch, its text and parameters as one value, and the limits it will trade under."""

    launch: Launch
    stored: StoredAlgo
    spec: AlgoSpec
    limits: Limits


def checked(place: Place, request: DeployRequest, wallet: WalletRow) -> Checked:
    """Everything that can be wrong with a request is said here, not at the first signal. Errors name the field and what to change."""
    stored = find(place.ledger, request.name)
    if kind_of(stored) == "file":
        raise InvalidInput(
            f"algo: {request.name} is a file, and only saved versions are deployed",
            hint=f"tradeagent algo new NAME --from {request.name}, then deploy NAME",
        )
    market, interval_ms = request.market or stored.spec.market, _interval(request, stored)
    if not market:
        raise InvalidInput(f"--market is missing, and {stored.name} names none", hint="add --market BTC")
    launch = Launch(
        algo=stored.name if stored.version is None else f"{stored.name}@{stored.version}",
        hash=stored.hash,
        venue=request.venue,
        market=market,
        interval_ms=interval_ms,
        params=params_text(request.params, stored.spec),
        leverage=request.leverage,
        pace=request.pace,
        unsafe_python=request.unsafe_python or place.config.flag("sandbox.allow_unsafe"),
    )
    known = instrument_of(place.config, market)
    spec = spec_of(launch, stored)
    limits = _limits(place.config, request.limits, wallet)
    _require_passable(spec, limits, launch, known)
    feed = feed_of(place, launch)
    bars = bars_of(place, launch, known, None if launch.pace.replay else place.clock.now_ms())
    require_enough(Warehouse(place.workspace.warehouse_dir), _setup(launch), spec, bars)
    if spec.python is not None:
        check(bars, spec)
    if launch.pace.replay is None:
        launch = replace(launch, origin_ms=_origin(spec, bars))
    elif launch.pace.from_ms is not None and launch.pace.from_ms >= feed.last_close:
        raise InvalidInput("--from: no stored bar closes after it", hint="give an earlier --from, or import newer bars")
    return Checked(launch, stored, spec, limits)


def pinned(place: Place, launch: Launch) -> StoredAlgo:
    """The algo of a launch, which must still be the one that was deployed."""
    stored = find(place.ledger, launch.algo)
    if stored.hash != launch.hash:
        raise InvalidConfig(
            f"algo {launch.algo} is not the one that was deployed: it came with the product, and that has changed it",
            hint="stop this deployment and deploy the algo again",
        )
    return stored


def spec_of(launch: Launch, stored: StoredAlgo) -> AlgoSpec:
    """The algo with its parameters, on its market and interval."""
    return replace(spec_for(stored, _setup(launch)), may_run_unlocked=launch.unsafe_python)


def feed_of(place: Place, launch: Launch) -> WarehouseFeed:
    """The bars that move the run's market: those of the replay, or the finest stored ones that the algo's interval is made of."""
    warehouse = Warehouse(place.workspace.warehouse_dir)
    source = _source(warehouse, launch)
    if launch.interval_ms % source.interval_ms:
        raise InvalidInput(
            f"--interval: {interval_text(launch.interval_ms)} bars cannot be made of the stored {interval_text(source.interval_ms)} bars",
            hint=f"tradeagent data fetch --market {launch.market} --interval {interval_text(launch.interval_ms)}",
        )
    return WarehouseFeed(warehouse, [source], instruments_of(place.config), wait=launch.pace.replay is None)


def bars_of(place: Place, launch: Launch, known: Instrument, until_ms: int | None = None) -> Bars:
    """Closed bars of the algo's interval as far as they are stored, from its origin on, with funding."""
    return columns(Warehouse(place.workspace.warehouse_dir), launch.key, launch.origin_ms, until_ms, known)[0]


def instrument_of(config: Config, market: str) -> Instrument:
    """A market that can be traded here."""
    known = instruments_of(config).get(market)
    if known is None:
        raise InvalidInput(
            f"--market: unknown market {market!r}", hint=f"config.yml instruments.{market}: {{size_decimals: 3, max_leverage: 10}} adds it"
        )
    return known


def terms_of(launch: Launch, config: Config) -> Terms:
    """What the algo's sizing has to know of the account's costs."""
    costs = costs_of(config)
    return Terms(fees=costs.fees, slippage_bps=costs.slippage_bps, leverage=launch.leverage)


def _interval(request: DeployRequest, stored: StoredAlgo) -> int:
    interval_ms = parse_duration(request.interval, "--interval") if request.interval else stored.spec.interval_ms
    if not interval_ms:
        raise InvalidInput(f"--interval is missing, and {stored.name} names none", hint="add --interval 1h")
    return interval_ms


def _setup(launch: Launch) -> Setup:
    return Setup(launch.venue, launch.market, launch.interval_ms, params=launch.params)


def _source(warehouse: Warehouse, launch: Launch) -> ReplaySource:
    if launch.pace.replay is None:
        return finest(warehouse, launch.market, launch.venue)
    sources = parse_replay(launch.pace.replay)
    found = next((source for source in sources if source.market == launch.market), None)
    if found is None or len(sources) > 1:
        raise InvalidInput(
            f"--replay: {launch.pace.replay!r} is not the one market that {launch.algo} trades",
            hint=f"--replay {launch.venue}:{launch.market}:{interval_text(launch.interval_ms)}",
        )
    if found.venue != launch.venue:
        raise InvalidInput(f"--replay: {found.venue} is not --venue {launch.venue}", hint=f"add --venue {found.venue}")
    return found


def _origin(spec: AlgoSpec, bars: Bars) -> int | None:
    """Enough bars before now that averages have forgotten where they began, and no more, because each close computes them all."""
    from tradeagent.algos.evaluate import Evaluator

    enough = max(HISTORY_BARS, WARMUPS * Evaluator(bars).warmup(spec))
    return int(bars.time[-enough]) if len(bars) > enough else None


def _limits(config: Config, kind_or_file: str, wallet: WalletRow) -> Limits:
    """The limits of an algo: the defaults of its kind, under what a file says, below the workspace's ceilings."""
    written: Mapping[str, Any] = {}
    where = "limits"
    if kind_or_file != LimitKind.ALGO.value:
        file = Path(kind_or_file)
        if not file.is_file():
            raise InvalidInput(
                f"--limits: {kind_or_file!r} is not algo and no file",
                hint="give a file with lines like max_position_pct: 50, or leave it out",
            )
        written, where = read_yaml(file.read_text(encoding="utf-8"), file).values, file.name
    network = network_of(wallet)
    return resolve_limits(LimitKind.ALGO, written, network=network, ceilings=config.section("ceilings", network), where=where)


def _require_passable(spec: AlgoSpec, limits: Limits, launch: Launch, known: Instrument) -> None:
    """RefusedError for an algo whose own text can never pass its limits."""
    sides: dict[str, SideRules | None] = {"long": spec.long, "short": spec.short}
    for side, rules in sides.items():
        if rules is None:
            continue
        if limits.flag("require_stops") and rules.exit.stop is None:
            _never(
                Rule.PROTECTION, f"exit.{side} has no stop_loss, and require_stops is on", f"add exit.{side}.stop_loss, or --limits FILE"
            )
        if limits.flag("require_targets") and rules.exit.target is None:
            _never(Rule.PROTECTION, f"exit.{side} has no take_profit, and require_targets is on", f"add exit.{side}.take_profit")
    leverage, most = launch.leverage or spec.leverage, limits.number("max_leverage")
    if leverage > known.max_leverage:
        _never(
            Rule.LEVERAGE, f"leverage {leverage} is above the {known.max_leverage} of {known.symbol}", f"--leverage {known.max_leverage}"
        )
    if most is not None and leverage > most:
        _never(Rule.LEVERAGE, f"leverage {leverage} is above max_leverage {plain(most)}", f"--leverage {int(most)}, or --limits FILE")
    cap = limits.number("max_single_order_quote")
    if spec.sizing.kind is SizingKind.ABS and cap is not None and spec.sizing.value > cap:
        what = f"sizing.abs {plain(spec.sizing.value)} is above max_single_order_quote {plain(cap)}"
        _never(Rule.SINGLE_ORDER, what, f"sizing: {{abs: {plain(cap)}}}")


def _never(rule: Rule, what: str, hint: str) -> None:
    raise RefusedError(f"deploy: {what}, so no entry would ever pass", hint=hint, code=rule.value)
