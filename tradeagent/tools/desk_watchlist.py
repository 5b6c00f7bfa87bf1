"""Tools of family watchlist: the markets the user keeps an eye on."""

from pydantic import Field

from tradeagent.domain.clock import iso
from tradeagent.ledger import watchlist
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import one_line
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments, Market, OneMarket
from tradeagent.tools.portfolio import Nothing

MOST_PRICED = 30


class Watch(Arguments):
    market: Market
    note: str = Field(default="", max_length=watchlist.LONGEST_NOTE, description="why, in a few words")


async def get_watchlist(_arguments: Nothing, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        rows = watchlist.listed(tx)
    shown = []
    for number, row in enumerate(rows):
        known = context.mark(row.market) if number < MOST_PRICED else None
        price = {} if known is None else {"mark_usdc": f"{known[0]:f}", "as_of": iso(known[1])}
        shown.append({"market": row.market, "note": one_line(row.note), "by": row.actor, "added": iso(row.added_ms), **price})
    return ToolResult({"watchlist": shown})


async def add_to_watchlist(arguments: Watch, context: DeskContext) -> ToolResult:
    context.instrument(HYPERLIQUID, arguments.market)
    row = watchlist.WatchRow(arguments.market, one_line(arguments.note), context.actor.value, context.clock.now_ms())
    with context.ledger.transaction() as tx:
        is_new = watchlist.add(tx, row)
    return ToolResult({"market": arguments.market, "new": is_new})


async def remove_from_watchlist(arguments: OneMarket, context: DeskContext) -> ToolResult:
    with context.ledger.transaction() as tx:
        watchlist.remove(tx, arguments.market)
    return ToolResult({"market": arguments.market, "removed": True})


WATCHLIST_TOOLS = (
    Tool("get_watchlist", "The user's watchlist with the last prices.", Nothing, "watchlist", "read", get_watchlist),
    Tool("add_to_watchlist", "Put a market on the watchlist, or change its note.", Watch, "watchlist", "memory", add_to_watchlist),
    Tool("remove_from_watchlist", "Take a market off the watchlist.", OneMarket, "watchlist", "memory", remove_from_watchlist),
)
