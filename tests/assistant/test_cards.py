"""Confirm cards: what voids one, that each is decided once, and that nothing but a commit by a person does anything."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from card_stage import HOUR, NOW, Stage, make, opened
from hypothesis import HealthCheck, given, settings
from sqlalchemy import insert, update
from test_drafts import written

from tradeagent.agents.folder import new_agent
from tradeagent.agents.template import TEMPLATE
from tradeagent.assistant import cards as prepared
from tradeagent.assistant.drafts import patch
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError, TradeAgentError
from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import CardKind, CardState, EventKind, LimitKind, SuggestionState
from tradeagent.execution.reading import limits_out
from tradeagent.ledger import events, jobs, runs, suggestions, trading
from tradeagent.ledger.cards import CardRow
from tradeagent.ledger.minds_schema import cards as cards_table
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.schema import orders as orders_table
from tradeagent.ledger.schema import positions as positions_table
from tradeagent.ledger.schema import wallets as wallets_table
from tradeagent.ledger.suggestions import SuggestionRow
from tradeagent.ledger.trading import NET, PositionRow
from tradeagent.runtime import cards as committing
from tradeagent.runtime import deploy as deploying
from tradeagent.runtime.cards import commit, dismiss, is_open_ended
from tradeagent.runtime.wallets import move_cash
from tradeagent.workspace.claims import boot_id
from tradeagent.workspace.latch import set_latch

D = Decimal


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make(tmp_path / "ws", bars=1_200)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests that reach the function which deploys; no process is started here."""
    asked: list[Any] = []
    monkeypatch.setattr(deploying, "deploy", lambda _place, request: asked.append(request) or {"deployment": "new_1"})
    return asked


def deploy_card(stage: Stage, name: str = "sma_cross", wallet: str = "alpha") -> CardRow:
    action = prepared.deploy_algo(stage.bench, name, wallet, ("synthetic", "BTC", "1h"), {}, None)
    return prepared.prepare(stage.bench, CardKind.DEPLOY, action, "s1")


def rebalance_card(stage: Stage) -> CardRow:
    return prepared.prepare(stage.bench, CardKind.REBALANCE, prepared.rebalance(stage.bench, ["alpha", "beta"], None), "s1")


def draft_card(stage: Stage) -> CardRow:
    return prepared.prepare(stage.bench, CardKind.SAVE_DRAFT, prepared.save_draft(stage.bench, written(stage).id, "s1"), "s1")


def a_run(stage: Stage, name: str, *, kind: str = "algo", wallet: str = "alpha", state: str = "running", **source: Any) -> DeploymentRow:
    slug = name.rpartition("_")[0]
    limits = limits_out(resolve_limits(LimitKind(kind), {}))
    row = DeploymentRow(
        name, kind, slug, wallet, 1, "loop", state, 1, "", ["BTC"], limits, source, D(1_000), 3, 0, NOW - HOUR, None, None, None, None,
        boot_id(), 1,
    )  # fmt: skip
    with stage.ledger.transaction() as tx:
        runs.add_deployment(tx, row)
    return row


def hold(stage: Stage, controller: str, size: str) -> None:
    with stage.ledger.transaction() as tx:
        for holder in (NET, controller):
            row = PositionRow("alpha", "BTC", holder, D(size), D(size) * 100, 1, mark=D(110), mark_ms=NOW)
            tx.execute(positions_table.delete().where(positions_table.c.controller_id == holder))
            tx.execute(insert(positions_table).values(**asdict(row)))


def voided(stage: Stage, row: CardRow, **options: Any) -> list[str]:
    """What a commit says has changed; the card is void for good then, and says why in the feed."""
    with pytest.raises(RefusedError, match="is void") as error:
        commit(stage.place, row.id, override=True, **options)
    assert error.value.code == "gate_failed" and error.value.exit_code == 3
    assert stage.card(row.id).state == CardState.VOID.value
    with pytest.raises(RefusedError, match="void already"):
        commit(stage.place, row.id, override=True)
    with stage.ledger.reading() as tx:
        told = [each["data"] for each in events.read(tx, limit=500) if each["kind"] == EventKind.CARD_STATE.value]
    assert told[-1]["why"] in error.value.message
    return list(error.value.details.get("changed", []))


def test_a_deploy_card_says_what_it_does_in_figures_and_which_gates_failed(stage: Stage, deployed: list[Any]) -> None:
    stage.wallet("alpha")
    row = deploy_card(stage)
    told = row.consequences
    assert told["wallet"]["equity_usdc"] == "1000" and told["limits"]["max_leverage"] == "3"
    assert told["worst_case"]["largest_position_usdc"] == "1000"  # 100 % of equity binds before leverage 3
    assert told["worst_case"]["loss_a_day_until_halt_usdc"] == "50" and told["worst_case"]["loss_from_peak_until_flat_usdc"] == "300"
    assert told["failed_gates"] == ["backtest", "rolling_cv"] and row.expires_ms == NOW + 600_000
    with pytest.raises(RefusedError, match="2 gate") as error:
        commit(stage.place, row.id)
    assert "--override" in error.value.hint and not deployed
    assert stage.card(row.id).state == CardState.WAITING.value


def test_an_override_is_recorded_and_the_runtime_function_gets_the_pinned_arguments(stage: Stage, deployed: list[Any]) -> None:
    from tradeagent.algos.catalogue import template_text
    from tradeagent.algos.store import save

    stage.wallet("alpha")
    save(stage.ledger, "mine", template_text("sma_cross", "mine"), NOW)
    row = deploy_card(stage, "mine")
    save(stage.ledger, "mine", template_text("sma_cross", "mine") + "\n# newer\n", NOW)  # another version, which nobody was shown
    done = commit(stage.place, row.id, override=True)
    (request,) = deployed
    assert (request.name, request.market, request.interval, request.venue, request.limits) == ("mine@1", "BTC", "1h", "synthetic", "algo")
    assert done["result"] == {"deployment": "new_1"} and done["state"] == "committed"
    with stage.ledger.reading() as tx:
        told = [each for each in events.read(tx, limit=500) if each["kind"] == EventKind.CARD_STATE.value]
    assert told[-1]["data"]["overridden"] == ["backtest", "rolling_cv"] and told[-1]["actor"] == "manual"


def _wallet_limits(stage: Stage) -> None:
    with stage.ledger.transaction() as tx:
        tx.execute(update(wallets_table).where(wallets_table.c.name == "alpha").values(limits={"max_leverage": "2"}))


def _deposit(stage: Stage) -> None:
    place = stage.place
    move_cash(place.workspace, place.config, place.ledger, stage.clock, "alpha", "0.000001", 1)


CHANGES: list[tuple[str, Callable[[Stage], object]]] = [
    ("wallet", _wallet_limits),
    ("money of the wallet", _deposit),
    ("money of the wallet", lambda stage: hold(stage, "manual", "0.5")),
    ("money of the wallet", lambda stage: set_latch(stage.place.workspace.kill_dir, "alpha")),
    ("run on the wallet", lambda stage: a_run(stage, "other_1", state="stopped")),
]


@pytest.mark.parametrize(("changed", "change"), CHANGES)
def test_a_deploy_is_void_when_anything_its_figures_follow_from_changed(
    stage: Stage, deployed: list[Any], changed: str, change: Callable[[Stage], object]
) -> None:
    stage.wallet("alpha")
    row = deploy_card(stage)
    change(stage)
    assert voided(stage, row) == [changed] and not deployed


@pytest.mark.parametrize(
    ("settings_", "changed"),
    [({"ceilings.paper.max_leverage": "2"}, "limits"), ({"gates.min_days": "1"}, "gates")],
)
def test_a_deploy_is_void_when_configuration_changed_its_limits_or_gates(
    stage: Stage, deployed: list[Any], settings_: dict[str, str], changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tradeagent.cli.entry import run

    stage.wallet("alpha")
    root = str(stage.place.workspace.root)
    assert run(["backtest", "run", "sma_cross", "--market", "BTC", "--interval", "1h", "--venue", "synthetic", "-w", root, "--json"]) == 0
    row = deploy_card(stage)
    assert voided(opened(stage.place.workspace.root, settings_), row) == [changed] and not deployed
    capsys.readouterr()


def test_a_deploy_is_void_when_a_newer_backtest_gives_other_gates(
    stage: Stage, deployed: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from tradeagent.cli.entry import run

    stage.wallet("alpha")
    row = deploy_card(stage)
    root = str(stage.place.workspace.root)
    assert run(["backtest", "run", "sma_cross", "--market", "BTC", "--interval", "1h", "--venue", "synthetic", "-w", root, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert voided(stage, row) == ["gates"] and not deployed
    again = deploy_card(stage)
    assert {gate["source"] for gate in again.consequences["gates"] if gate["id"] == "sharpe"} == {f"backtest {found['id']}"}


def test_a_deploy_of_an_agent_is_void_when_its_folder_or_its_open_questions_changed(stage: Stage, deployed: list[Any]) -> None:
    folder = new_agent(stage.place.workspace.agents_dir, "Mine", TEMPLATE)
    stage.wallet("bot", "agent")

    def card() -> CardRow:
        return prepared.prepare(stage.bench, CardKind.DEPLOY, prepared.deploy_agent(stage.bench, "mine", "bot"), None)

    first = card()
    assert first.consequences["failed_gates"] == []
    (folder / "agent.md").write_text((folder / "agent.md").read_text().replace("in the direction", "against the direction"))
    assert voided(stage, first) == ["version"]
    second = card()
    text = (folder / "agent.md").read_text()
    (folder / "agent.md").write_text(text.replace("max_drawdown_pct: 10", "max_drawdown_pct: 50"))
    assert voided(stage, second) == ["limits", "version"]
    third = card()
    with stage.ledger.transaction() as tx:
        asked = SuggestionRow("q1", "mine", None, 1, "risk_per_trade_pct", "0.1", "0.2", "why", "x", SuggestionState.OPEN.value, NOW)
        suggestions.add(tx, asked)
    assert voided(stage, third) == ["gates"] and not deployed
    assert commit(stage.place, card().id, override=True)["result"] and [request.kind for request in deployed] == ["agent"]


@pytest.mark.parametrize("change", ["size", "state", "entry"])
def test_a_stop_is_void_when_the_run_or_what_it_holds_changed(stage: Stage, change: str) -> None:
    stage.wallet("alpha")
    a_run(stage, "sma_cross_a1")
    hold(stage, "sma_cross_a1", "0.5")
    row = prepared.prepare(stage.bench, CardKind.STOP, prepared.stop("sma_cross_a1", unwind=True), None)
    (held,) = row.consequences["positions"]
    assert held == {"market": "BTC", "size_base": "0.5", "entry_usdc": "100", "unrealised_usdc": "5"}
    assert D(row.consequences["close_cost_usdc"]) > 0
    if change == "size":
        hold(stage, "sma_cross_a1", "0.25")
        assert voided(stage, row) == ["positions"]
    elif change == "state":
        with stage.ledger.transaction() as tx:
            runs.update_deployment(tx, "sma_cross_a1", state="error")
        assert voided(stage, row) == []
    else:
        order = trading.OrderRow(
            "0xa", "i1", "alpha", "sma_cross_a1", "sma_cross_a1", 1, "BTC", "buy", "limit", "entry", D(1), D(0), D(90), None, "gtc", False,
            None, "open", "", NOW, NOW,
        )  # fmt: skip
        with stage.ledger.transaction() as tx:
            tx.execute(insert(orders_table).values(**asdict(order)))
        assert voided(stage, row) == ["entries"]


def test_a_stop_is_void_when_the_run_was_halted_meanwhile(stage: Stage) -> None:
    stage.wallet("alpha")
    a_run(stage, "sma_cross_a1")
    row = prepared.prepare(stage.bench, CardKind.STOP, prepared.stop("sma_cross_a1", unwind=False), None)
    with stage.ledger.transaction() as tx:
        runs.update_deployment(tx, "sma_cross_a1", state="halted")
    assert voided(stage, row) == ["deployment"]


def test_a_restart_stops_first_and_deploys_what_was_deployed(stage: Stage, deployed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stage.wallet("alpha")
    source = {"algo": "sma_cross", "venue": "synthetic", "market": "BTC", "interval_ms": HOUR, "params": {"fast.length": 9}, "leverage": 2}
    a_run(stage, "sma_cross_a1", deployed=True, **source)
    row = prepared.prepare(stage.bench, CardKind.RESTART, prepared.restart(stage.bench, "sma_cross_a1"), None)
    assert row.consequences["first"]["positions"] == [] and row.consequences["leverage"] == "2"
    order: list[str] = []
    monkeypatch.setattr("tradeagent.runtime.control.command", lambda *given: order.append(f"{given[2]} {given[1]}") or {"state": "done"})
    commit(stage.place, row.id, override=True)
    (request,) = deployed
    assert order == ["stop sma_cross_a1"]
    assert (request.name, request.wallet, request.params, request.leverage) == ("sma_cross", "alpha", ("fast.length=9",), 2)


def test_a_restart_that_would_lose_limits_of_its_own_or_is_a_replay_is_refused(stage: Stage) -> None:
    stage.wallet("alpha")
    source = {"algo": "sma_cross", "venue": "synthetic", "market": "BTC", "interval_ms": HOUR, "params": {}, "leverage": None}
    row = a_run(stage, "sma_cross_a1", deployed=True, **source)
    tight = limits_out(resolve_limits(LimitKind.ALGO, {"max_leverage": 1}))
    with stage.ledger.transaction() as tx:
        runs.add_deployment(tx, replace(row, id="sma_cross_a2", limits=tight))
        runs.add_deployment(tx, replace(row, id="sma_cross_a3", source={**source, "replay": "BTC:1h"}))
    with pytest.raises(RefusedError, match="limits of its own"):
        prepared.restart(stage.bench, "sma_cross_a2")
    with pytest.raises(InvalidInput, match="is a replay"):
        prepared.restart(stage.bench, "sma_cross_a3")


@pytest.mark.parametrize(("state", "deployed_"), [("halted", False), ("running", True)])
def test_a_wallet_with_a_deployment_gets_no_other_and_gives_no_money(stage: Stage, state: str, deployed_: bool) -> None:
    """One that says running has no process here: it was interrupted, and goes on when it was deployed."""
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    a_run(stage, "sma_cross_a1", state=state, deployed=deployed_)
    for attempt in (deploy_card, rebalance_card):
        with pytest.raises(RefusedError) as error:
            attempt(stage)
        assert error.value.code == "wallet_in_use"


def test_a_card_for_the_next_version_is_void_when_the_folder_changed(stage: Stage) -> None:
    from tradeagent.assistant.drafts import begin_agent

    folder = new_agent(stage.place.workspace.agents_dir, "Mine", TEMPLATE)
    draft = patch(stage.bench, begin_agent(stage.bench, None, "", "mine").id, [(("limits", "max_leverage"), 2)])
    row = prepared.prepare(stage.bench, CardKind.SAVE_DRAFT, prepared.save_draft(stage.bench, draft.id, None), None)
    assert row.consequences["changes"] == ["limits.max_leverage – → 2"]
    (folder / "config.yml").write_text("risk_per_trade_pct: 0.2\n")
    assert voided(stage, row) == ["folder"]


def test_a_draft_card_is_void_when_draft_or_folder_changed(stage: Stage) -> None:
    row = draft_card(stage)
    patch(stage.bench, row.action["draft"], [(("limits", "max_leverage"), 3)])
    assert voided(stage, row) == ["draft"]
    again = prepared.prepare(stage.bench, CardKind.SAVE_DRAFT, prepared.save_draft(stage.bench, row.action["draft"], "s1"), "s1")
    new_agent(stage.place.workspace.agents_dir, "BTC breakout", TEMPLATE)
    assert voided(stage, again) == []


def test_a_rebalance_moves_paper_money_once_and_is_void_when_money_moved(stage: Stage) -> None:
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    row = rebalance_card(stage)
    assert row.action["transfers"] == [{"from": "beta", "to": "alpha", "amount_usdc": "1000"}]
    assert commit(stage.place, row.id)["result"] == {"done": row.action["transfers"]}
    assert (stage.equity("alpha"), stage.equity("beta")) == (D(2_000), D(2_000))
    with pytest.raises(RefusedError, match="committed already"):
        commit(stage.place, row.id)
    _deposit(stage)
    stage.wallet("gamma", cash="50")
    other = prepared.prepare(stage.bench, CardKind.REBALANCE, prepared.rebalance(stage.bench, ["alpha", "gamma"], None), None)
    _deposit(stage)
    assert voided(stage, other) == ["money of alpha"]
    assert stage.equity("gamma") == D(50)


def test_a_backtest_card_queues_one_job_under_its_own_id(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import tradeagent.runtime.jobs as work

    monkeypatch.setattr(work, "start_waiting", lambda _place: False)
    argv = ["backtest", "run", "sma_cross", "--market=BTC", "--interval=1h"]
    row = prepared.prepare(stage.bench, CardKind.START_BACKTEST, {"algo": "sma_cross", "argv": argv}, None)
    assert commit(stage.place, row.id)["result"] == {"job": row.id}
    with stage.ledger.reading() as tx:
        assert jobs.get(tx, row.id).argv == argv


def test_a_draft_that_was_changed_after_the_last_look_is_not_saved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    row = draft_card(stage)
    looked = committing._looked_again

    def then_patched(*given: Any) -> Any:
        found = looked(*given)
        patch(stage.bench, row.action["draft"], [(("limits", "max_leverage"), 3)])
        return found

    monkeypatch.setattr(committing, "_looked_again", then_patched)
    with pytest.raises(RefusedError, match="revision 2 now, not 1"):
        commit(stage.place, row.id)
    assert not stage.place.workspace.agent_dir("btc_breakout").exists()


@pytest.mark.parametrize("field", ["action", "consequences", "target", "seen", "expires_ms"])
def test_a_card_that_was_tampered_with_is_void(stage: Stage, field: str) -> None:
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    row = rebalance_card(stage)
    moved = {"transfers": [{"from": "beta", "to": "alpha", "amount_usdc": "2900"}]}
    values = {"action": moved, "consequences": {"nothing": "to see"}, "target": "x", "seen": "{}", "expires_ms": NOW + 10**9}
    with stage.ledger.transaction() as tx:
        tx.execute(update(cards_table).where(cards_table.c.id == row.id).values(**{field: values[field]}))
    assert voided(stage, row) == []
    assert stage.equity("beta") == D(3_000)


def test_what_was_shown_must_be_what_is_committed(stage: Stage) -> None:
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    row = rebalance_card(stage)
    evil = replace(row, action={"transfers": [{"from": "beta", "to": "alpha", "amount_usdc": "2900"}]})
    with stage.ledger.transaction() as tx:  # rewritten between the dialog and the keypress, with a hash that fits
        tx.execute(update(cards_table).where(cards_table.c.id == row.id).values(action=evil.action, hash=prepared.hash_of(evil)))
    assert voided(stage, row, shown=row.hash) == [] and stage.equity("beta") == D(3_000)


@pytest.mark.parametrize(("late_ms", "is_over"), [(-1, False), (0, True), (10**9, True)])
def test_a_card_expires_by_the_clock(stage: Stage, late_ms: int, is_over: bool) -> None:
    row = draft_card(stage)
    later = opened(stage.place.workspace.root, now_ms=row.expires_ms + late_ms)
    if not is_over:
        assert commit(later.place, row.id)["state"] == "committed"
        return
    with pytest.raises(RefusedError, match="expired already"):
        commit(later.place, row.id)
    assert stage.card(row.id).state == CardState.EXPIRED.value
    assert not stage.place.workspace.agent_dir("btc_breakout").exists()


def test_a_dismissed_card_and_one_that_another_replaced_cannot_be_committed(stage: Stage) -> None:
    first = draft_card(stage)
    second = prepared.prepare(stage.bench, CardKind.SAVE_DRAFT, first.action, "s1")
    assert stage.card(first.id).state == CardState.VOID.value
    assert dismiss(stage.place, second.id)["state"] == "dismissed"
    for row in (first, second):
        with pytest.raises(RefusedError):
            commit(stage.place, row.id)
        with pytest.raises(RefusedError):
            dismiss(stage.place, row.id)
    with pytest.raises(NotFound):
        commit(stage.place, "NOSUCH")


def test_a_failed_action_is_written_down_and_not_done_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    row = rebalance_card(stage)

    def broken(*_: object) -> None:
        raise InvalidInput("the disk says no", hint="free some space")

    monkeypatch.setattr("tradeagent.runtime.wallets.transfer_cash", broken)
    with pytest.raises(InvalidInput, match="the disk says no"):
        commit(stage.place, row.id)
    kept = stage.card(row.id)
    assert kept.state == CardState.FAILED.value and kept.result is not None
    assert kept.result["error"]["message"] == "the disk says no" and kept.result["under_way"] == row.action["transfers"][0]
    with pytest.raises(RefusedError, match="failed already"):
        commit(stage.place, row.id)


def test_a_commit_that_ended_half_way_says_so_and_is_never_repeated(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    row = draft_card(stage)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(committing.drafting, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        commit(stage.place, row.id)
    monkeypatch.undo()
    assert is_open_ended(stage.card(row.id))
    with pytest.raises(RefusedError, match="nothing says what came of it"):
        commit(stage.place, row.id)
    assert not stage.place.workspace.agent_dir("btc_breakout").exists()


def test_a_card_for_a_real_network_wants_its_phrase(stage: Stage, deployed: list[Any]) -> None:
    place = stage.place
    from tradeagent.runtime.wallets import WalletRequest, create_wallet

    request = WalletRequest("real", venue="hyperliquid", network="mainnet", group="algo")
    create_wallet(place.workspace, place.config, place.ledger, stage.clock, request)
    row = deploy_card(stage, wallet="real")
    phrase = row.consequences["type_to_confirm"]
    assert "paper_days" in row.consequences["failed_gates"]
    for wrong in (None, "", "yes", phrase.upper()):
        with pytest.raises(RefusedError, match="type the phrase") as error:
            commit(stage.place, row.id, override=True, phrase=wrong)
        assert error.value.code == "LIVE_GATE"
    assert not deployed
    commit(stage.place, row.id, override=True, phrase=phrase)
    assert len(deployed) == 1


def test_nothing_is_prepared_for_a_wallet_of_the_other_group_or_that_is_not_there(stage: Stage) -> None:
    stage.wallet("bot", "agent")
    with pytest.raises(InvalidInput, match="is for agents"):
        deploy_card(stage, wallet="bot")
    with pytest.raises(NotFound):
        deploy_card(stage, wallet="nosuch")


def test_a_leverage_that_no_limit_lets_pass_is_refused_when_the_card_is_made(stage: Stage) -> None:
    stage.wallet("alpha")
    action = prepared.deploy_algo(stage.bench, "sma_cross", "alpha", ("synthetic", "BTC", "1h"), {}, 4)
    with pytest.raises(RefusedError, match="leverage: 4 is above 3"):
        prepared.prepare(stage.bench, CardKind.DEPLOY, action, None)


def test_cards_do_not_pile_up_before_the_user(stage: Stage) -> None:
    argv = ["backtest", "run", "sma_cross"]
    for number in range(prepared.MOST_WAITING):
        prepared.prepare(stage.bench, CardKind.START_BACKTEST, {"algo": "sma_cross", "argv": argv}, f"s{number}")
    with pytest.raises(RefusedError, match="wait for the user"):
        prepared.prepare(stage.bench, CardKind.START_BACKTEST, {"algo": "sma_cross", "argv": argv}, "one more")


@pytest.mark.parametrize("kind", [CardKind.START_SIMULATION])
def test_what_is_not_built_is_refused_by_name(stage: Stage, kind: CardKind) -> None:
    with pytest.raises(InvalidInput, match="start_simulation"):
        prepared.prepare(stage.bench, kind, {}, None)


def test_no_forged_card_is_ever_committed(stage: Stage) -> None:
    """Whatever is written over a stored card, what is done is what was shown, or nothing is."""
    stage.wallet("alpha"), stage.wallet("beta", cash="3000")
    fields = st.sampled_from(["target", "action", "consequences", "seen", "hash", "kind", "session", "created_ms", "expires_ms"])
    junk = st.one_of(st.text(max_size=10), st.integers(0, 10**13), st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.dictionaries(fields, junk, min_size=1, max_size=4))
    def play(forged: dict[str, Any]) -> None:
        row = rebalance_card(stage)
        numbers, documents = {"created_ms", "expires_ms"}, {"action", "consequences"}
        fitting = {key: value for key, value in forged.items() if key in documents or isinstance(value, int if key in numbers else str)}
        values = {key: value for key, value in fitting.items() if getattr(row, key) != value}
        if not values:
            return
        with stage.ledger.transaction() as tx:
            tx.execute(update(cards_table).where(cards_table.c.id == row.id).values(**values))
        with pytest.raises(TradeAgentError):
            commit(stage.place, row.id, override=True, shown=row.hash)
        assert stage.equity("beta") == D(3_000)
        with stage.ledger.transaction() as tx:
            tx.execute(cards_table.delete())

    play()
