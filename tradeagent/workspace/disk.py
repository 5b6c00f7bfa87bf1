"""The room that is left on the disk of a workspace, against the room that entries leave for getting out of the market again."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOM_KEY = "trading.min_free_disk_mib"
LOOK_EVERY_S = 1.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Room:
    """MiB free when somebody looked, and the least that an entry needs; a least of 0 is never short."""

    free_mib: int = 0
    least_mib: int = 0

    @property
    def is_short(self) -> bool:
        return self.free_mib < self.least_mib

    @property
    def is_ample(self) -> bool:
        """Enough not to be short again at the next written page."""
        return self.free_mib * 10 >= self.least_mib * 11


NO_LEAST = Room()


def free_mib(folder: Path) -> int:
    """MiB that this user can still write on the disk of a folder, or of the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // MIB


class RoomWatch:
    """Looks at the disk of a folder once a second at most, however often it is asked."""

    def __init__(self, folder: Path, least_mib: int, monotonic: Callable[[], float], free: Callable[[Path], int] = free_mib) -> None:
        self._folder = folder
        self._least = least_mib
        self._monotonic = monotonic
        self._free = free
        self._looked: float | None = None
        self._room = NO_LEAST

    def room(self) -> Room:
        now = self._monotonic()
        if self._least and (self._looked is None or now - self._looked >= LOOK_EVERY_S):
            self._looked, self._room = now, Room(self._free(self._folder), self._least)
        return self._room
