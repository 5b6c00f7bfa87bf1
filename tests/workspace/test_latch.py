"""The kill latch between threads of one process and its files; processes are in tests/faults/test_kill_switch.py."""

import errno
import os
import threading
from pathlib import Path

import pytest

from tradeagent.domain.names import KillPolicy, Rule
from tradeagent.workspace import latch
from tradeagent.workspace.latch import Gate, Latched


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "kill", "w")


def test_a_fresh_gate_is_open(gate: Gate) -> None:
    assert gate.latched() is None
    with gate.sending(reduces=False):
        pass


def test_a_latched_wallet_sends_only_what_reduces(gate: Gate, tmp_path: Path) -> None:
    folder = tmp_path / "kill"
    assert latch.set_latch(folder, "w") is True
    assert latch.set_latch(folder, "w") is False, "a second kill changes nothing"
    assert gate.latched() is Rule.HALTED
    with pytest.raises(Latched) as refused, gate.sending(reduces=False):
        pytest.fail("an entry passed")
    assert refused.value.code == "HALTED"
    with gate.sending(reduces=True):
        pass
    assert Gate(folder, "other").latched() is None
    assert latch.clear_latch(folder, "w") is True
    assert latch.clear_latch(folder, "w") is False
    with gate.sending(reduces=False):
        pass


def test_the_latch_of_everything_stops_every_wallet(gate: Gate, tmp_path: Path) -> None:
    latch.set_latch(tmp_path / "kill", None)
    assert gate.latched() is Rule.KILL_SWITCH
    latch.set_latch(tmp_path / "kill", "w")
    latch.clear_latch(tmp_path / "kill", None)
    assert gate.latched() is Rule.HALTED, "the wallet's own latch stays"


def test_a_refused_send_gives_its_lock_back(gate: Gate, tmp_path: Path) -> None:
    latch.set_latch(tmp_path / "kill", "w")
    with pytest.raises(Latched), gate.sending(reduces=False):
        pass
    assert latch.drain(tmp_path / "kill", "w") == []


def test_drain_waits_for_an_order_that_is_under_way(gate: Gate, tmp_path: Path) -> None:
    sent, drained = threading.Event(), threading.Event()

    def kill() -> None:
        latch.set_latch(tmp_path / "kill", "w")
        latch.drain(tmp_path / "kill", "w")
        assert sent.is_set(), "reported before the order had left"
        drained.set()

    with gate.sending(reduces=False):
        killer = threading.Thread(target=kill)
        killer.start()
        assert not drained.wait(0.05)
        sent.set()
    killer.join()
    assert drained.is_set()


def test_nested_touches_hold_one_lock_until_the_outer_one_ends(gate: Gate, tmp_path: Path) -> None:
    with gate.sending(reduces=False):
        with gate.touching():
            pass
        (file,) = (tmp_path / "kill").glob("*.sender")
        assert not latch._falls_free(file, deadline=0)
    assert latch._falls_free(file, deadline=0)


def test_a_sender_whose_file_was_swept_away_makes_another_before_it_sends(gate: Gate, tmp_path: Path) -> None:
    with gate.touching():
        pass
    assert latch.drain(tmp_path / "kill", "w") == []
    assert not list((tmp_path / "kill").glob("*.sender"))
    with gate.sending(reduces=False):
        assert len(list((tmp_path / "kill").glob("*.sender"))) == 1
    gate.close()
    assert not list((tmp_path / "kill").glob("*.sender"))


def test_an_armed_latch_can_be_set_when_nothing_can_be_created(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kill"
    latch.arm(folder, "w", KillPolicy.FLATTEN_ALL)
    real = os.open

    def full(path: object, flags: int, *rest: int, **more: object) -> int:
        if flags & os.O_CREAT and not os.path.exists(str(path)):  # noqa: PTH110
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    assert latch.set_latch(folder, "w") is True
    assert gate.latched() is Rule.HALTED


def test_the_policy_of_a_wallet_is_to_close_unless_its_run_said_otherwise(gate: Gate, tmp_path: Path) -> None:
    folder = tmp_path / "kill"
    assert latch.policy_of(folder, "w") is KillPolicy.FLATTEN_ALL
    latch.arm(folder, "w", KillPolicy.CANCEL_ONLY)
    assert gate.policy is KillPolicy.CANCEL_ONLY
    (folder / "wallet-w.policy").write_text("half a wo")
    assert gate.policy is KillPolicy.FLATTEN_ALL
    latch.arm(folder, "w", KillPolicy.KEEP_ALL)
    assert gate.policy is KillPolicy.KEEP_ALL
