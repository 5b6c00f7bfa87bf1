"""The venue's weight budget of one IP address: how much was spent in the last minute, and waiting until there is room."""

import asyncio
from collections import deque

from tradeagent.domain.clock import MINUTE_MS, Clock

# hyperliquid.md §8: 1,200 a minute over REST.
WEIGHT_PER_MINUTE = 1200


class WeightBudget:
    """Weights of the last minute. It knows this process only: what others on the same address spend comes back as 429."""

    def __init__(self, clock: Clock, per_minute: int = WEIGHT_PER_MINUTE) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._spent: deque[tuple[int, int]] = deque()
        self.total = 0
        self.waited_s = 0.0

    def take(self, weight: int) -> None:
        """Spend `weight`, waiting first while the last minute has no room for it; more than a minute's worth goes on an empty minute."""
        while (used := self._used()) and used + weight > self._per_minute:
            wait_s = max(self._spent[0][0] + MINUTE_MS - self._clock.now_ms(), 1) / 1000
            self.waited_s += wait_s
            asyncio.run(self._clock.sleep(wait_s))
        self.charge(weight)

    def charge(self, weight: int) -> None:
        """Spend what an answer turned out to cost, without waiting."""
        if weight:
            self._spent.append((self._clock.now_ms(), weight))
            self.total += weight

    def _used(self) -> int:
        """Weight of the last minute; an entry later than now (the clock stepped back) is forgotten."""
        now = self._clock.now_ms()
        self._spent = deque((at, weight) for at, weight in self._spent if now - MINUTE_MS < at <= now)
        return sum(weight for _, weight in self._spent)
