"""The broker of a dry run: it can be read and it cannot write, whatever the model insists on."""

from collections.abc import Sequence

from tradeagent.brokers.protocol import Activity, BrokerAccount, BrokerOrder, BrokerReader
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import Rule
from tradeagent.domain.order import OrderReport, OrderRequest


class RefusingBroker:
    """Reads through a reader that holds no key; every write raises RefusedError with rule DRY_RUN."""

    def __init__(self, reader: BrokerReader) -> None:
        self._reader = reader

    def account(self) -> BrokerAccount:
        return self._reader.account()

    @property
    def delivers_late(self) -> bool:
        return self._reader.delivers_late

    def open_orders(self) -> Sequence[BrokerOrder]:
        return self._reader.open_orders()

    def order_status(self, cloid: str) -> OrderReport | None:
        return self._reader.order_status(cloid)

    def activity_since(self, cursor: int) -> Sequence[Activity]:
        return self._reader.activity_since(cursor)

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        raise _refusal(f"{len(orders)} order(s) not sent")

    def cancel(self, cloid: str) -> OrderReport:
        raise _refusal(f"cancel of {cloid} not sent")

    def set_leverage(self, market: str, leverage: int) -> None:
        raise _refusal(f"leverage of {market} stays, {leverage} not sent")


def _refusal(message: str) -> RefusedError:
    return RefusedError(f"dry run: {message}", code=Rule.DRY_RUN.value)
