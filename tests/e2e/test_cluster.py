"""`optimize run --cluster`: a Dask cluster that loses a worker gives the document that one process gives."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import dask_worker, scheduler
from product import copied, wait_until

pytestmark = pytest.mark.real_data
SEARCH = ("optimize", "run", "sma_cross", "--market", "BTC", "--interval", "5m", "--n-trials", "40", "--seed", "3")
OF_ITS_OWN = ("id", "backtest", "elapsed_s")


def test_a_worker_killed_in_the_middle_of_a_trial_changes_nothing_in_the_document(template: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: it comes with the extra `cluster`")
    apart, alone = copied(template, tmp_path / "apart"), copied(template, tmp_path / "alone")
    with (
        scheduler(tmp_path) as address,
        dask_worker(address, tmp_path / "one"),
        dask_worker(address, tmp_path / "two") as second,
        distributed.Client(address, set_as_default=False) as looker,
    ):
        looker.wait_for_workers(2, timeout=30)
        [where] = [worker for worker, info in looker.scheduler_info(n_workers=-1)["workers"].items() if info["name"] == "two"]
        process = apart.start(*SEARCH, "--json", "--cluster", address)
        try:
            wait_until(lambda: process.poll() is not None or looker.processing([where])[where], seconds=60)
            second.kill()
            assert process.poll() is None
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
            process.wait()
    assert (process.returncode, err, second.returncode) == (0, "", -signal.SIGKILL)
    told = json.loads(out)
    assert told["trials"] == 40 > told["distinct"] > 20
    assert unmoved(told) == unmoved(alone.ask(*SEARCH, "--workers", "1"))


def unmoved(document: dict[str, Any]) -> dict[str, Any]:
    """Without what each search has of its own; a note names the search as well."""
    text = json.dumps({key: value for key, value in document.items() if key not in OF_ITS_OWN})
    found: dict[str, Any] = json.loads(text.replace(document["id"][-6:], "itself"))
    return found
