"""What makes a stored result stale."""

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import tradeagent
from tradeagent.research.version import kernel_version

PACKAGE = Path(tradeagent.__file__).parent


def version_in(root: Path) -> str:
    spec = spec_from_file_location("copied_version", root / "research" / "version.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.kernel_version())


@pytest.mark.parametrize(
    "source",
    ["research/kernel/loop.py", "algos/machine.py", "algos/levels.py", "algos/indicators/momentum.py", "algos/indicators/windows.py"],
)
def test_a_changed_kernel_machine_or_indicator_is_another_version(tmp_path: Path, source: str) -> None:
    for room in ("research", "algos"):
        shutil.copytree(PACKAGE / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    assert version_in(tmp_path) == kernel_version()
    (tmp_path / source).write_text((tmp_path / source).read_text() + "\n")
    assert version_in(tmp_path) != kernel_version()


def test_another_version_of_the_indicator_library_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel_version()
    monkeypatch.setattr("tradeagent.research.version.version", lambda name: "another")
    assert kernel_version.__wrapped__() != before
