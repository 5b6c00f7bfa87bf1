"""Which transfers would bring wallets to their shares of the whole: arithmetic over what is free in each. A person moves the money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.money import ZERO, plain

CENT = Decimal("0.01")
LEAST = Decimal(10)


@dataclass(frozen=True, slots=True)
class Funds:
    """One wallet's money, USDC: `free` may leave it, `equity` is what it is worth."""

    wallet: str
    equity: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True)
class Transfer:
    source: str
    target: str
    amount: Decimal

    def as_dict(self) -> dict[str, str]:
        return {"from": self.source, "to": self.target, "amount_usdc": plain(self.amount)}


def transfers(funds: Sequence[Funds], weights: Mapping[str, Decimal] | None = None, least: Decimal = LEAST) -> list[Transfer]:
    """Transfers from wallets above their share to those below, in whole cents and none under `least` USDC.

    `weights` are relative; without them every wallet has the same. No wallet gives more than is free in it, or more than what it has
    above its share; where that is not enough, those in need get parts in proportion. InvalidInput names a weight that is none.
    """
    shares = _shares(funds, weights)
    total = sum((one.equity for one in funds), ZERO)
    over = {one.wallet: max(ZERO, min(one.free, one.equity - total * shares[one.wallet])) for one in funds}
    need = {one.wallet: max(ZERO, total * shares[one.wallet] - one.equity) for one in funds}
    wanted, there = sum(need.values(), ZERO), sum(over.values(), ZERO)
    part = min(Decimal(1), there / wanted) if wanted else ZERO
    found = []
    for target, amount in sorted(need.items(), key=lambda item: (-item[1], item[0])):
        left = amount * part
        for source, spare in sorted(over.items(), key=lambda item: (-item[1], item[0])):
            moved = min(left, spare).quantize(CENT, ROUND_DOWN)
            if moved >= least:
                found.append(Transfer(source, target, moved))
                over[source] -= moved
                left -= moved
    return found


def _shares(funds: Sequence[Funds], weights: Mapping[str, Decimal] | None) -> dict[str, Decimal]:
    if weights is None:
        return {one.wallet: Decimal(1) / len(funds) for one in funds}
    known = {one.wallet for one in funds}
    for wallet, weight in weights.items():
        if wallet not in known:
            raise InvalidInput(f"weights: {wallet!r} is none of the wallets", hint=f"one of {', '.join(sorted(known))}")
        if not weight.is_finite() or weight < 0:
            raise InvalidInput(f"weights.{wallet}: {weight} is below 0", hint="write 0 or more")
    total = sum(weights.values(), ZERO)
    if not total:
        raise InvalidInput("weights: all are 0", hint="give at least one wallet a weight above 0")
    return {one.wallet: weights.get(one.wallet, ZERO) / total for one in funds}
