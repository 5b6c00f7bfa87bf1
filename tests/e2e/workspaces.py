"""Workspaces with real bars: one template a test process, copied for whoever changes it."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from product import Product, copied

MARKETS = ("BTC", "ETH", "HYPE")


@cache
def _template(root: Path, data: Path) -> Path:
    product = Product(root)
    assert product.here("init", str(root)).code == 0
    for market in MARKETS:
        product.ask("data", "import", str(data / f"hyperliquid_{market}_5m.parquet"), "--market", market, "--interval", "5m")
        product.ask("data", "import", str(data / f"hyperliquid_{market}_funding_1h.parquet"), "--market", market, "--funding")
    return root


@pytest.fixture(scope="session")
def template(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the example agents and five-minute bars and funding of their markets; only ever copied."""
    return _template(tmp_path_factory.getbasetemp() / "template", shared_data)


@pytest.fixture
def product(template: Path, tmp_path: Path) -> Product:
    """A fresh copy for one test."""
    return copied(template, tmp_path / "ws")


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A copy for the tests of one module that only read, or that use wallets of their own."""
    yield copied(template, tmp_path_factory.mktemp("shared") / "ws")
