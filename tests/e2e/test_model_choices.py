"""The models of a run: one that answers for another is named in the books, recorded answers cost nothing, and a program can be a model."""

import itertools
import shutil
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from loopback import Loopback, failure, text_reply
from product import BTC, Product, copied

pytestmark = pytest.mark.slow
AGENT = Path(__file__).resolve().parents[1] / "llm" / "acp_agent.py"
ONCE = ("run", "btc_momentum", "--mode", "dry-run", "--replay", BTC, "--json")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Callable[[str], Product]:
    """Makes workspaces whose agent has the model that is asked for."""
    numbers = itertools.count()

    def made(model: str) -> Product:
        product = copied(template, tmp_path / f"ws{next(numbers)}")
        product.rewrite("btc_momentum", ("model: offline/momentum", f"model: {model}"))
        for name in ("first", "spare"):
            for key, price in (("input_price_per_mtok", "2"), ("output_price_per_mtok", "10")):
                product.ask("config", "set", f"models.openai/{name}.{key}", price)
        return product

    return made


def test_what_a_fallback_costs_is_booked_under_its_own_name(desk: Callable[[str], Product]) -> None:
    product = desk("openai/first\nfallback_models: [openai/spare]")
    with Loopback(failure(401, "no")) as broken, Loopback(text_reply("holding", usage=(1000, 10))) as working:
        for model, server in (("first", broken), ("spare", working)):
            product.ask("config", "set", f"models.openai/{model}.base_url", server.url)
        answer = product.run(*ONCE)
    assert answer.code == 0, answer
    [row] = product.ask("usage", "--by", "model")
    assert (row["model"], row["calls"], Decimal(row["cost_usd"]), row["unpriced_calls"]) == ("openai/spare", 1, Decimal("0.0021"), 0)


def test_the_same_run_with_recorded_answers_asks_nobody_and_costs_nothing(desk: Callable[[str], Product]) -> None:
    """A second workspace, so that the run has the same name in its prompt."""
    one, two, three = desk("openai/first"), desk("openai/first"), desk("openai/first")
    with Loopback(text_reply("holding", usage=(1000, 10))) as server:
        for product, mode in ((one, "read_write"), (two, "replay"), (three, "replay")):
            product.ask("config", "set", "model_cache.mode", mode)
            product.ask("config", "set", "models.openai/first.base_url", server.url)
        assert one.run(*ONCE).code == 0
        for path in (one.root / "state").glob("model_cache.sqlite*"):
            shutil.copy(path, two.root / "state")
        answer = two.run(*ONCE)
        assert answer.code == 0, answer
        missing = three.run(*ONCE)
        assert len(server.bodies) == 1
    [first], [second] = one.ask("usage"), two.ask("usage")
    assert (Decimal(first["cost_usd"]), Decimal(second["cost_usd"])) == (Decimal("0.0021"), 0)
    assert (first["tokens_in"], first["tokens_out"]) == (second["tokens_in"], second["tokens_out"]) == (1000, 10)
    assert missing.code == 5
    assert "not in the response cache" in missing.out


def test_a_program_that_speaks_the_protocol_runs_a_tick(desk: Callable[[str], Product]) -> None:
    product = desk(f"acp:{sys.executable} {AGENT} talk")
    answer = product.run(*ONCE)
    assert answer.code == 0, answer
    [usage] = product.ask("usage")
    assert (usage["tokens_in"], usage["tokens_out"], usage["cost_usd"], usage["unpriced_calls"]) == (1000, 50, None, 1)
    [report] = (product.agents / "btc_momentum" / "dry_runs").glob("*.md")
    text = report.read_text()
    assert "I look. Fine." in text
    assert "get_portfolio" in text
    product.rewrite("btc_momentum", (f"model: acp:{sys.executable} {AGENT} talk", "model: acp:no-such-agent"))
    missing = product.run(*ONCE)
    assert (missing.code, missing.error["code"]) == (5, "model_error")
    assert "no program 'no-such-agent'" in missing.error["message"]
