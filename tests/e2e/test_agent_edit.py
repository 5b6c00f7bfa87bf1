"""`agent edit` with an editor of one's own: what can run is in force, what cannot is kept and changes nothing."""

import pytest
from product import Product


def test_an_edit_that_cannot_run_is_kept_and_one_that_can_is_in_force(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = product.agents / "btc_momentum"
    before = (folder / "agent.md").read_text()
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i 's/^tick_interval: .*/tick_interval: soon/'")
    refused = product.here("agent", "edit", "btc_momentum", "--json")
    assert refused.code == 2 and "'soon'" in refused.error["message"] and "agent.draft.md" in refused.error["hint"]
    assert (folder / "agent.md").read_text() == before
    monkeypatch.setenv("EDITOR", "sed -i 's/^tick_interval: .*/tick_interval: 15m/'")
    assert product.ask("agent", "edit", "btc_momentum") == {"agent": "btc_momentum", "changed": True, "from_draft": True}
    assert product.ask("agent", "show", "btc_momentum")["tick_interval"] == "15m"
    monkeypatch.setenv("EDITOR", "sed -i '$a - mine'")
    product.ask("agent", "pin", "btc_momentum", "first")
    assert product.ask("agent", "edit", "btc_momentum", "--pinned")["pinned"] == "- first\n- mine"


@pytest.mark.parametrize(
    ("editor", "said"), [("", "names no editor"), ("'", "names no editor"), ("no-such", "start"), ("false", "ended with 1")]
)
def test_an_editor_that_does_not_work_is_named(product: Product, monkeypatch: pytest.MonkeyPatch, editor: str, said: str) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor)
    answer = product.here("agent", "edit", "btc_momentum", "--json")
    assert answer.code == 2 and answer.error["message"].startswith("EDITOR: ") and said in answer.error["message"]
    assert not (product.agents / "btc_momentum" / "agent.draft.md").exists()
