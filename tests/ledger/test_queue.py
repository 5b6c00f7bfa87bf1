"""The writers' queue: one at a time across processes, and neither a fork nor a deleted lock file breaks that."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tradeagent.ledger.queue import WriterQueue


def test_a_second_writer_waits_its_time_and_gives_up(tmp_path: Path) -> None:
    first, second = WriterQueue(tmp_path / "lock"), WriterQueue(tmp_path / "lock")
    assert first.acquire(1.0)
    assert not second.acquire(0.02)
    first.release()
    assert second.acquire(0.02)
    second.close()
    assert first.acquire(0.02), "closing lets go"
    first.close()


def test_a_lock_file_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    first, second = WriterQueue(tmp_path / "lock"), WriterQueue(tmp_path / "lock")
    assert first.acquire(1.0)
    first.release()
    (tmp_path / "lock").unlink()
    assert second.acquire(1.0)
    assert not first.acquire(0.02), "the old file is locked in vain, so it is not used again"
    second.close()
    first.close()


def test_a_forked_child_does_not_hold_its_parents_turn(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from tradeagent.ledger.queue import WriterQueue
        queue = WriterQueue(Path(sys.argv[1]))
        assert queue.acquire(1.0)
        child = os.fork()
        if child == 0:
            os._exit(1 if queue.acquire(0.02) else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        queue.release()
    """)
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "lock")], check=True, env=environment)
