"""A warehouse and a CSV file per test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tradeagent.market.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "market")


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "bars.csv"
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write
