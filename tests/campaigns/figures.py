"""What a campaign counted and what it found: one line for people, one document for programs."""

import json
import time
from dataclasses import dataclass, field


@dataclass
class Figures:
    """Counts by name, and every violation in words with what reproduces it; `remarks` are worth a look and break nothing."""

    name: str
    seed: int
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def count(self, what: str, more: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + more

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def line(self) -> str:
        counted = ", ".join(f"{what} {count:,}" for what, count in self.counts.items())
        return f"{self.name}: {counted}, violations {len(self.violations):,} (seed {self.seed}, {self.seconds:.0f} s)"

    def document(self) -> str:
        return json.dumps(
            {
                "campaign": self.name,
                "seed": self.seed,
                "counts": self.counts,
                "violations": self.violations,
                "remarks": self.remarks,
                "seconds": round(self.seconds, 1),
            }
        )
