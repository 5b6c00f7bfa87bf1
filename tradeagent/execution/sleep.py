"""Whether the machine has slept, or its clock was set: monotonic time stands still meanwhile and wall time does not."""

from tradeagent.domain.clock import Clock

GAP_S = 30.0


class SleepWatch:
    """Compares how far wall and monotonic time have moved from look to look; more than GAP_S apart is a sleep.

    `wakings` counts them; `slept_s` is how long the newest were and stays until somebody is told. A clock that is set back counts too, as a
    negative sleep. One thread at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = clock.now_ms(), clock.monotonic()
        self.wakings = 0
        self.slept_s = 0.0

    def look(self) -> bool:
        """Whether it slept since the look before."""
        seen_ms, seen_s = self._seen
        now_ms, now_s = self._seen = self._clock.now_ms(), self._clock.monotonic()
        gap_s = (now_ms - seen_ms) / 1000 - (now_s - seen_s)
        if abs(gap_s) <= GAP_S:
            return False
        self.wakings, self.slept_s = self.wakings + 1, self.slept_s + gap_s
        return True
