"""A start on a wallet with 1,000 open orders, durable: from the closed door to `consistent`, when all are known and when none is."""

import time
from decimal import Decimal

from benchmarks.measure import bare_commit_ms, median, scratch
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.domain.names import OrderType, ReconcilePhase, Side
from tradeagent.domain.order import OrderRequest
from tradeagent.ledger import trading, wallets
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.wallets import WalletRequest, create_wallet, owned_door

ORDERS = 1_000
ALLOWED_S = 5


def rows() -> list[Row]:
    """Wall seconds of the first start, which adopts every order, and of the next ones, which know them."""
    with scratch() as folder:
        place = live_place(folder / "ws", {}, every="1h")
        _open_orders(place)
        strange, known = _start(place), median(lambda: _start(place))
        place.ledger.close()
        commit = Floor("three bare FULL commits", 3 * bare_commit_ms(folder) / 1000)
    return [
        Row("Start to `consistent`, 1,000 open orders", known, "s wall", bound=ALLOWED_S, floor=commit),
        Row("Start to `consistent`, 1,000 orders of another hand", strange, "s wall", bound=ALLOWED_S, floor=commit),
    ]


def _open_orders(place: Place) -> None:
    """Limit orders that rest at the venue and that nobody here placed."""
    wallet = create_wallet(place.workspace, place.config, place.ledger, place.clock, WalletRequest("bench", cash="1000000"))
    with owned_door(place.workspace, place.config, place.ledger, place.clock, wallet) as door:
        door.paper.place(
            [
                OrderRequest(f"0x{number:032x}", "BTC", Side.BUY, OrderType.LIMIT, Decimal("0.001"), price=Decimal(20_000 + number))
                for number in range(ORDERS)
            ]
        )


def _start(place: Place) -> float:
    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, "bench")
    began = time.perf_counter()
    with owned_door(place.workspace, place.config, place.ledger, place.clock, wallet) as door:
        took = time.perf_counter() - began
        assert door.engine.phase is ReconcilePhase.CONSISTENT
    with place.ledger.reading() as tx:
        assert len(trading.live_orders(tx, "bench")) == ORDERS
    return took


if __name__ == "__main__":
    main(rows)
