"""How long the steps of a tick take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tradeagent.domain.clock import Clock


@dataclass(slots=True)
class Timings:
    """How long each step took, without the steps inside it."""

    clock: Clock
    _spent: dict[str, float] = field(default_factory=dict)
    _inside: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin, outside = self.clock.monotonic(), self._inside
        self._inside = 0.0
        try:
            yield
        finally:
            spent = self.clock.monotonic() - begin
            self.add(name, spent - self._inside)
            self._inside = outside + spent

    def add(self, name: str, seconds: float) -> None:
        """Count what a step took, or its next part."""
        self._spent[name] = self._spent.get(name, 0.0) + seconds

    @property
    def by_step(self) -> dict[str, int]:
        """Milliseconds."""
        return {name: round(seconds * 1000) for name, seconds in self._spent.items()}
