"""`algo`: strategies written as YAML or Python, their versions, and what they say about stored bars."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import algos
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.algos.bars import Bars
    from tradeagent.algos.evaluate import Evaluator
    from tradeagent.algos.spec import AlgoSpec
    from tradeagent.algos.store import StoredAlgo
    from tradeagent.domain.instrument import Instrument
    from tradeagent.market.readers import SpanReport
    from tradeagent.research.backtest import Setup

app = typer.Typer(help="Algorithms: write, check, explore and probe them.", no_args_is_help=True)
Algo = Annotated[str, typer.Argument(help="saved name, NAME@VERSION, built-in, or path of a .yml or .py file", autocompletion=algos)]
Market = Annotated[str | None, typer.Option("--market", "-m", help="market, like BTC; the algo's own when it names one")]
Interval = Annotated[str | None, typer.Option("--interval", "-i", help="bar interval, like 5m; the algo's own when it names one")]
Param = Annotated[list[str] | None, typer.Option("--param", "-p", help="a parameter of the algo, NAME=VALUE; repeat")]
UnsafePython = Annotated[bool, typer.Option("--unsafe-python", help="let a Python algo run where this system cannot lock it up")]
Venue = Annotated[str, typer.Option(help="venue of the stored bars")]


@app.command(name="list")
def list_() -> None:
    """Every algo: saved ones with their newest version, then built-ins, which run by name, and templates, which are copied."""
    from tradeagent.algos import catalogue
    from tradeagent.algos.store import built_in, find, summary
    from tradeagent.domain.errors import TradeAgentError
    from tradeagent.ledger import algos as saved

    with session().ledger.reading() as tx:
        names = saved.names(tx)
    rows: list[dict[str, Any]] = []
    for name in names:
        try:
            rows.append(summary(find(session().ledger, name), "saved"))
        except TradeAgentError as error:
            rows.append({"name": name, "kind": "saved", "version": None, "description": f"broken: {error.message}"})
    rows += [summary(built_in(name), "built_in") for name in catalogue.BUILT_INS]
    rows += [summary(built_in(name), "template") for name in catalogue.TEMPLATES]
    hint = "" if names else "\n\nnone saved yet: `tradeagent algo new NAME --template sma_cross`"
    columns = ["name", "kind", "version", "market", "interval", "direction", "description"]
    session().output.document(rows, table(rows, columns, right=("version",)) + hint)


@app.command()
def show(
    algo: Algo, text: Annotated[bool, typer.Option("--text", help="print only its text, to edit and save again with `algo new`")] = False
) -> None:
    """One algo: where it is from, its parameters with their ranges, and its text."""
    from tradeagent.algos.params import params_of
    from tradeagent.algos.store import find, kind_of, summary
    from tradeagent.cli.algo_text import param_row

    found = find(session().ledger, algo)
    spec = found.spec
    params = [] if spec.python else [param_row(name, str(value), spec.params.get(name)) for name, value in params_of(spec).items()]
    data = {**summary(found, kind_of(found)), "lineage": found.lineage, "hash": found.hash, "params": params, "text": spec.text}
    if text:
        session().output.document(data, spec.text)
        return
    head = {key: data[key] for key in ("name", "kind", "version", "market", "interval", "direction", "lineage", "hash")}
    shown = [pairs(head), table(params, ["param", "value", "range"], empty="no parameters"), spec.text]
    session().output.document(data, "\n\n".join(shown))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="name to save under: letters, digits, _ and -")],
    template: Annotated[str, typer.Option("--template", "-t", help="built-in or template to begin with", autocompletion=algos)] = "",
    from_: Annotated[Path | None, typer.Option("--from", help=".yml or .py file to save")] = None,
    note: Annotated[str, typer.Option(help="a line about this version")] = "",
) -> None:
    """Save an algo, or the next version of one; saved versions never change. Without --template or --from it begins as sma_cross.

    Example: tradeagent algo new my_cross --template sma_cross
    """
    from tradeagent.algos import catalogue
    from tradeagent.algos.store import check_name, from_file, save, summary
    from tradeagent.domain.errors import InvalidInput

    session().workspace.require_writable()
    check_name(name)
    if template and from_ is not None:
        raise InvalidInput(
            "--template and --from are both given", hint=f"tradeagent algo new {name} --template {template}, or --from {from_}"
        )
    now_ms = session().clock.now_ms()
    if from_ is None:
        template = template or catalogue.BUILT_INS[0]
        kept = save(session().ledger, name, catalogue.template_text(template, name), now_ms, note=note or f"from {template}")
    else:
        written = from_file(from_)
        kind = "python" if written.spec.python is not None and from_.suffix == ".py" else "yaml"
        kept = save(session().ledger, name, written.spec.text, now_ms, note=note, kind=kind, lineage=written.lineage)
    text = f"saved {kept.name}@{kept.version}\nnext: tradeagent backtest run {kept.name} --market BTC --interval 5m"
    text += f"\nto change it: tradeagent algo show {kept.name} --text > {kept.name}.yml, edit, tradeagent algo new {kept.name} --from it"
    session().output.document(summary(kept, "saved") | {"lineage": kept.lineage}, text)


@app.command()
def validate(algo: Algo) -> None:
    """Check an algo: every error names line, field and fix. Exit 2 when it cannot run."""
    from tradeagent.algos.checks import warnings_of
    from tradeagent.algos.evaluate import warmup_of
    from tradeagent.algos.store import find, kind_of, summary

    found = find(session().ledger, algo)
    spec = found.spec
    warnings = warnings_of(spec)
    data = {"ok": True, **summary(found, kind_of(found)), "warmup_bars": warmup_of(spec), "params": list(spec.params), "warnings": warnings}
    text = "\n".join([f"{found.name} is fine", *(f"warning: {line}" for line in warnings)])
    session().output.document(data, text)


@app.command()
def versions(algo: Algo) -> None:
    """Every saved version of an algo, newest first."""
    from tradeagent.domain.clock import iso
    from tradeagent.domain.errors import NotFound
    from tradeagent.ledger import algos as saved

    name = algo.partition("@")[0]
    with session().ledger.reading() as tx:
        found = saved.versions(tx, name)
    if not found:
        raise NotFound(
            f"no saved algo {name!r}", hint=f"tradeagent algo list; or save one: tradeagent algo new {name} --template sma_cross"
        )
    rows: list[dict[str, Any]] = [
        {"version": row.version, "created_at": iso(row.created_ms), "hash": row.hash, "kind": row.kind, "note": row.note} for row in found
    ]
    shown = [{**row, "hash": row["hash"][:12]} for row in rows]
    session().output.document(rows, table(shown, ["version", "created_at", "hash", "kind", "note"], right=("version",)))


@app.command()
def explore(
    algo: Algo,
    market: Market = None,
    interval: Interval = None,
    from_: Annotated[str | None, typer.Option("--from", help="first bar that opens at or after this time")] = None,
    to: Annotated[str | None, typer.Option("--to", help="last bar has closed by this time")] = None,
    param: Param = None,
    values: Annotated[Path | None, typer.Option("--values", help="also write bars and indicators, a .parquet file")] = None,
    unsafe_python: UnsafePython = False,
    venue: Venue = "hyperliquid",
) -> None:
    """How often each condition of an algo is true on stored bars, near misses, and which condition stood in the way."""
    from tradeagent.algos.explore import explore as explored
    from tradeagent.algos.explore import write_values
    from tradeagent.algos.store import kind_of, summary
    from tradeagent.cli.algo_text import explored as told_text
    from tradeagent.domain.clock import iso
    from tradeagent.research.backtest import require_enough
    from tradeagent.research.result import early_warnings

    loaded = _loaded(
        algo, {"venue": venue, "market": market, "interval": interval, "from": from_, "to": to}, param or [], unsafe_python=unsafe_python
    )
    bars, spec = loaded.evaluator.bars, loaded.spec
    require_enough(session().warehouse, loaded.setup, spec, bars)
    head = summary(loaded.stored, kind_of(loaded.stored)) | {"market": spec.market, "interval": loaded.data.interval}
    head |= {"first": iso(int(bars.time[0])), "last": iso(int(bars.time[-1])), "fingerprint": loaded.data.fingerprint}
    told = explored(loaded.evaluator, spec)
    columns = write_values(values, loaded.evaluator, spec) if values else []
    warnings = early_warnings(loaded.evaluator, loaded.data)
    data = {**head, **told, "lookahead": loaded.lookahead, "values": {"file": str(values), "columns": columns} if values else None}
    session().output.document(data | {"warnings": warnings}, _noted(told_text(head, told, values), warnings))


@app.command()
def probe(
    algo: Algo,
    market: Market = None,
    interval: Interval = None,
    param: Param = None,
    limits: Annotated[str, typer.Option(help="agent | algo | engine | manual | FILE: whose limits judge the entry")] = "algo",
    unsafe_python: UnsafePython = False,
    venue: Venue = "hyperliquid",
) -> None:
    """What an algo says about the newest stored bar: direction, confidence, levels, reasons, and what the limits would say."""
    from tradeagent.algos.analysis import analyse
    from tradeagent.cli.algo_text import probed
    from tradeagent.research.backtest import terms_of
    from tradeagent.research.limits_impact import resolve
    from tradeagent.research.result import early_warnings

    allowed = resolve(limits)
    loaded = _loaded(
        algo, {"venue": venue, "market": market, "interval": interval, "from": None, "to": None}, param or [], unsafe_python=unsafe_python
    )
    bars, spec = loaded.evaluator.bars, loaded.spec
    analysis = analyse(loaded.evaluator, spec)
    entry = None
    if analysis.signal != "none":
        from tradeagent.research.probe import entry_now

        entry = entry_now(loaded.evaluator, spec, loaded.instrument, analysis, terms_of(spec), allowed)
    age_s = (session().clock.now_ms() - int(bars.time[-1]) - bars.interval_ms) // 1000
    head = {"algo": loaded.stored.name, "version": loaded.stored.version, "market": spec.market, "interval": loaded.data.interval}
    warnings = early_warnings(loaded.evaluator, loaded.data)
    data = {**head, "age_s": age_s, **analysis.as_dict(), "limits_kind": limits, "order": entry, "warnings": warnings}
    session().output.document(data, _noted(probed(data), warnings))


def _noted(text: str, warnings: list[dict[str, Any]]) -> str:
    from tradeagent.research.result import noted

    return "\n".join([text, *(f"note: {noted(warning)}" for warning in warnings)])


@dataclass(frozen=True, slots=True)
class _OnBars:
    """An algo, with its parameters, on the stored bars that the flags named; its look-ahead check is made before anything is shown."""

    stored: "StoredAlgo"
    spec: "AlgoSpec"
    setup: "Setup"
    evaluator: "Evaluator"
    data: "SpanReport"
    instrument: "Instrument"
    lookahead: dict[str, Any]


def _loaded(algo: str, place: "dict[str, str | None]", params: list[str], *, unsafe_python: bool) -> _OnBars:
    """Errors name the flag."""
    from tradeagent.algos.evaluate import Evaluator
    from tradeagent.algos.store import find
    from tradeagent.cli.parsing import require_usable_interval, span
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.errors import DataError, InvalidInput
    from tradeagent.market.readers import columns
    from tradeagent.research.backtest import Setup, params_text, spec_for

    current = session()
    stored = find(current.ledger, algo)
    market = place["market"] or stored.spec.market
    interval_ms = parse_duration(place["interval"], "--interval") if place["interval"] else stored.spec.interval_ms
    if not market or not interval_ms:
        missing = "--market" if not market else "--interval"
        raise InvalidInput(f"{missing} is missing, and {stored.name} names none", hint=f"add {missing} {'BTC' if not market else '5m'}")
    from_ms, to_ms = span(place["from"], place["to"])
    require_usable_interval(current.warehouse, place["venue"] or "", market, interval_ms)
    setup = Setup(place["venue"] or "", market, interval_ms, from_ms, to_ms, params_text(params, stored.spec))
    known = current.instrument(setup.venue, market)
    spec = replace(spec_for(stored, setup), may_run_unlocked=unsafe_python or current.config.flag("sandbox.allow_unsafe"))
    bars, data = columns(current.warehouse, setup.key, from_ms, to_ms, known, as_of_ms=current.clock.now_ms())
    if not len(bars):
        early = f", but {data.unclosed:,} that have not closed yet" if data.unclosed else ""
        raise DataError(f"{setup.key.text}: no bar in that span{early}", hint="tradeagent data list")
    return _OnBars(stored, spec, setup, Evaluator(bars), data, known, _lookahead(spec, bars))


def _lookahead(spec: "AlgoSpec", bars: "Bars") -> dict[str, Any]:
    """What cutting the future changes; a Python algorithm that sees it is an error."""
    if spec.python is not None:
        from tradeagent.algos.evaluate import python_params
        from tradeagent.algos.sandbox import require_no_lookahead

        require_no_lookahead(spec.python, bars, python_params(spec), allow_unsafe=spec.may_run_unlocked)
        return {"ok": True}
    from tradeagent.research.lookahead import check

    return check(bars, spec).as_dict()
