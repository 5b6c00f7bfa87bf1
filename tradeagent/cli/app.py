"""The command tree. Modules of commands import only Typer at the top, so that help is fast."""

from functools import cache
from typing import Any

import typer

from tradeagent.cli import (
    agent,
    agent_changes,
    agent_edit,
    algo,
    approval,
    backtest,
    calendar,
    cards,
    charts,
    chat,
    complete,
    config,
    control,
    cv,
    data,
    deploy,
    drafts,
    exchange,
    export,
    jobs,
    kill,
    market,
    mcp,
    memory,
    news,
    notify,
    optimize,
    play,
    read,
    replay,
    routine,
    run,
    sessions,
    skills,
    start,
    token,
    trade,
    wallet,
    watchlist,
)

_EPILOG = (
    "Global options, before or after the command: --workspace/-w PATH, --json, --quiet, --verbose, --yes, --no-color. "
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 refused by a rule, 4 not found, 5 venue or model, 6 busy, 130 interrupted."
)

app = typer.Typer(
    name="tradeagent",
    help="Design, test, run and trust trading agents. Paper by default; nothing here reaches a live market.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

for group in (start, run, deploy, chat, cards, control, kill, read, replay, export, trade, complete):
    group.register(app)
agent_changes.register(agent.app)
agent_edit.register(agent.app)
replay.register_compare(agent.app)
app.add_typer(agent.app, name="agent")
app.add_typer(routine.app, name="routine")
app.add_typer(approval.app, name="approval")
app.add_typer(wallet.app, name="wallet")
app.add_typer(watchlist.app, name="watchlist")
app.add_typer(data.app, name="data")
app.add_typer(market.app, name="market")
app.add_typer(news.app, name="news")
app.add_typer(calendar.app, name="calendar")
app.add_typer(notify.app, name="notify")
charts.register(backtest.app)
app.add_typer(algo.app, name="algo")
app.add_typer(backtest.app, name="backtest")
app.add_typer(optimize.app, name="optimize")
app.add_typer(cv.app, name="cv")
app.add_typer(jobs.app, name="jobs")
app.add_typer(drafts.app, name="drafts")
app.add_typer(memory.app, name="memory")
app.add_typer(skills.app, name="skills")
app.add_typer(sessions.app, name="sessions")
app.add_typer(config.app, name="config")
app.add_typer(mcp.app, name="mcp")
app.add_typer(token.app, name="token")
app.add_typer(exchange.app, name="exchange")
app.add_typer(trade.position_app, name="position")
play.register(trade.order_app)
app.add_typer(trade.order_app, name="order")


@cache
def tree() -> Any:
    """The commands as Click runs them, made once a process: making them takes longer than most of them run."""
    return typer.main.get_command(app)
