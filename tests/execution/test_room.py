"""A disk that is nearly full: entries wait, exits and stops go on, one incident says so until there is room again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_opening import opened, shut
from world import WALLET, World, proposal

from tradeagent.domain.names import Actor, ExitReason, IncidentCode, IntentKind, Rule, VerdictKind
from tradeagent.execution.entry_times import EntryTimes
from tradeagent.execution.halts import flatten
from tradeagent.execution.opening import Door, DoorMode
from tradeagent.execution.protection import move_protection
from tradeagent.ledger import notes
from tradeagent.workspace.disk import Room, RoomWatch
from tradeagent.workspace.latch import RESERVE

NewWorld = Callable[..., World]


def test_entries_wait_and_exits_and_stops_go_on(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=3, stop=90)
    world.engine.entry_times = EntryTimes(room=Room(199, 200))
    for refused in (world.submit(size=1), world.manual(size=1)):
        assert refused.rejection is not None and refused.rule is Rule.PAUSED
        told = refused.rejection
        assert (told.limit_key, told.limit, told.value) == ("trading.min_free_disk_mib", "200", "199")
    assert move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=95), Actor.AGENT).kind is VerdictKind.EXECUTED
    assert world.submit("sell", size=1, reduce_only=True).kind is VerdictKind.EXECUTED
    flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert (world.held(), world.orders()) == (0, [])
    world.engine.entry_times = EntryTimes(room=Room(200, 200))
    assert world.submit(size=1).kind is VerdictKind.EXECUTED


def _incidents(door: Door) -> list[dict[str, Any]]:
    with door.engine.ledger.reading() as tx:
        return [row for row in notes.list_incidents(tx) if row["code"] == IncidentCode.DISK_FULL.value]


def test_one_incident_is_open_while_the_disk_is_short(tmp_path: Path) -> None:
    left, now = [500], [0.0]
    door = opened(tmp_path)
    door = replace(door, disk=RoomWatch(tmp_path, 200, lambda: now[0], lambda _folder: left[0]))
    told = []
    for free in (500, 199, 150, 199, 205, 100, 220, 220, 50):
        left[0] = free
        now[0] += 1
        door.refresh()
        assert door.engine.entry_times.room == Room(free, 200)
        told.append(sorted(row["state"] for row in _incidents(door)))
    assert told == [[], ["open"], ["open"], ["open"], ["open"], ["open"], ["closed"], ["closed"], ["closed", "open"]]
    assert {row["wallet"] for row in _incidents(door)} == {WALLET}
    shut(door)


def test_a_door_that_opens_on_a_short_disk_says_so_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    short = "trading:\n  min_free_disk_mib: 1000000\n"
    (tmp_path / "dry").mkdir()
    dry = opened(tmp_path / "dry", config=short, mode=DoorMode(dry_run=True))
    assert dry.engine.entry_times.room.is_short and _incidents(dry) == []
    assert not (tmp_path / "dry" / "state" / "kill" / RESERVE).exists()
    shut(dry)
    (tmp_path / "real").mkdir()
    door = opened(tmp_path / "real", config=short)
    assert [row["level"] for row in _incidents(door)] == ["error"]
    shut(door)


def test_every_door_prepares_for_a_kill(tmp_path: Path) -> None:
    shut(opened(tmp_path))
    assert {RESERVE, f"wallet-{WALLET}.armed", "everything.armed"} <= {file.name for file in (tmp_path / "state" / "kill").iterdir()}


def test_a_disk_that_takes_no_file_opens_the_door_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tradeagent.execution.opening.arm", full)
    shut(opened(tmp_path))
