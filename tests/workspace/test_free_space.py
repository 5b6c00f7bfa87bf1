"""Looking at the room on a disk: how often, what is short, and what is enough again."""

from pathlib import Path

import pytest

from tradeagent.workspace.disk import NO_LEAST, Room, RoomWatch, free_mib


@pytest.mark.parametrize(("free", "is_short", "is_ample"), [(0, True, False), (199, True, False), (200, False, False), (220, False, True)])
def test_the_least_is_enough_and_a_tenth_more_is_ample(free: int, is_short: bool, is_ample: bool) -> None:
    room = Room(free, 200)
    assert (room.is_short, room.is_ample) == (is_short, is_ample)


def test_the_disk_is_looked_at_once_a_second(tmp_path: Path) -> None:
    now, left, seen = [0.0], [500], []

    def free(folder: Path) -> int:
        seen.append(folder)
        return left[0]

    watch = RoomWatch(tmp_path, 200, lambda: now[0], free)
    assert watch.room() == Room(500, 200)
    left[0] = 100
    now[0] = 0.99
    assert not watch.room().is_short
    now[0] = 1.0
    assert watch.room().is_short
    assert seen == [tmp_path, tmp_path]


def test_without_a_least_nobody_looks(tmp_path: Path) -> None:
    watch = RoomWatch(tmp_path, 0, lambda: 0.0, lambda _folder: pytest.fail("looked"))
    assert watch.room() == NO_LEAST and not watch.room().is_short


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    assert abs(free_mib(tmp_path / "not" / "yet") - free_mib(tmp_path)) < 1000
