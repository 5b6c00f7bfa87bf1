"""What limits would have refused or cut: hand-made entries, judged on their own and through the door."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_legs import LEAVE_LONG, LONG, SHORT, SPEC, D, hand_leg

from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import LevelKind, Sizing, SizingKind
from tradeagent.domain.errors import InvalidInput, UnknownKey
from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import LimitKind
from tradeagent.research.eventpath import EventRun, replay
from tradeagent.research.kernel import simulate
from tradeagent.research.limits_impact import limits_impact, resolve
from tradeagent.research.run import Leg, Terms

P = 50_000.0
CALM = [P] * 12
LEVELS = Levels(Distance(LevelKind.PCT, D(2)), Distance(LevelKind.PCT, D(3)))
WIDE = {"max_leverage": 20, "max_position_pct": 1000, "max_total_exposure_pct": 1000}


def impact(leg: Leg, written: Mapping[str, Any], terms: Terms | None = None) -> dict[str, dict[str, int]]:
    used = terms or Terms()
    return limits_impact(simulate([leg], used), [leg], used, resolve_limits(LimitKind.ALGO, {**WIDE, **written}))


def through_the_door(leg: Leg, written: Mapping[str, Any], terms: Terms | None = None) -> EventRun:
    return replay([leg], terms or Terms(), resolve_limits(LimitKind.ALGO, {**WIDE, **written}))


def sized(percent: int, kind: SizingKind = SizingKind.PCT_OF_EQUITY) -> Sizing:
    return Sizing(kind, D(percent))


def test_calm_entries_within_every_limit_are_left_alone() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG, 6: SHORT}, LEVELS)
    assert impact(leg, {}) == {}
    found = through_the_door(leg, {})
    assert (found.rejections, found.cuts) == ({}, {})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("max_position_pct", 40, "POSITION_CAP"),
        ("max_total_exposure_pct", 40, "EXPOSURE_CAP"),
        ("max_single_order_quote", 100, "SINGLE_ORDER"),
        ("max_position_size_quote", 100, "POSITION_CAP"),
        ("max_risk_per_trade_pct", "0.5", "TRADE_RISK"),
        ("max_portfolio_risk_quote", 5, "PORTFOLIO_RISK"),
    ],
)
def test_a_share_of_the_equity_is_cut_to_the_tightest_cap(key: str, value: int | str, rule: str) -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, LEVELS)
    assert impact(leg, {key: value}) == {rule: {"refused": 0, "cut": 1}}
    found = through_the_door(leg, {key: value})
    assert (found.rejections, found.cuts) == ({}, {rule: 1})
    assert 0 < int(found.run.trades.size[0]) < int(simulate([leg], Terms()).trades.size[0])


def test_a_fixed_amount_is_refused_and_not_cut() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, spec=replace(SPEC, sizing=sized(500, SizingKind.ABS)))
    assert impact(leg, {"max_single_order_quote": 499}) == {"SINGLE_ORDER": {"refused": 1, "cut": 0}}
    assert through_the_door(leg, {"max_single_order_quote": 499}).rejections == {"SINGLE_ORDER": 1}


def test_what_a_cut_leaves_below_the_venues_minimum_is_refused_by_the_cap() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, LEVELS)
    assert impact(leg, {"max_single_order_quote": 9}) == {"SINGLE_ORDER": {"refused": 1, "cut": 1}}
    assert through_the_door(leg, {"max_single_order_quote": 9}).rejections == {"SHAPE": 1}


def test_a_wild_bar_refuses_the_entry_decided_on_it() -> None:
    shapes = [P, (P, P * 1.04, P * 0.98, P), *[P] * 5]
    leg = hand_leg(shapes, {1: LONG, 4: LEAVE_LONG}, LEVELS)
    assert impact(leg, {}) == {"SANITY": {"refused": 1, "cut": 0}}
    assert through_the_door(leg, {}).rejections == {"SANITY": 1}


@pytest.mark.parametrize(
    ("levels", "written"),
    [
        (Levels(), {"require_stops": True}),
        (Levels(Distance(LevelKind.PCT, D(2))), {"require_targets": True}),
        (Levels(Distance(LevelKind.PCT, D(2)), Distance(LevelKind.RR, D("0.5"))), {"min_reward_risk": 1}),
        (Levels(Distance(LevelKind.PCT, D("0.2"))), {"min_stop_to_cost": 2}),
    ],
)
def test_levels_that_a_limit_asks_for(levels: Levels, written: dict[str, Any]) -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, levels)
    assert impact(leg, written) == {"PROTECTION": {"refused": 1, "cut": 0}}
    assert through_the_door(leg, written).rejections == {"PROTECTION": 1}


def test_the_leverage_setting_is_judged() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, spec=replace(SPEC, leverage=5))
    assert impact(leg, {"max_leverage": 4}) == {"LEVERAGE": {"refused": 1, "cut": 0}}
    assert through_the_door(leg, {"max_leverage": 4}).rejections == {"LEVERAGE": 1}


def test_cooldown_and_daily_trades_look_at_the_run_before() -> None:
    leg = hand_leg(CALM, {0: LONG, 2: LEAVE_LONG, 4: LONG, 6: LEAVE_LONG, 9: LONG}, LEVELS)
    assert impact(leg, {"cooldown_minutes": 121}) == {"COOLDOWN": {"refused": 1, "cut": 0}}
    assert impact(leg, {"max_daily_trades": 2}) == {"DAILY_TRADES": {"refused": 1, "cut": 0}}
    assert impact(leg, {"cooldown_minutes": 120}) == {}
    assert through_the_door(leg, {"cooldown_minutes": 121}).rejections == {"COOLDOWN": 1}
    assert through_the_door(leg, {"max_daily_trades": 2}).rejections == {"DAILY_TRADES": 1}


def test_the_closing_leg_of_a_flip_starts_no_cooldown() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: SHORT}, LEVELS)
    assert len(simulate([leg], Terms()).open_trades) == 1
    assert impact(leg, {"cooldown_minutes": 600}) == {}
    assert through_the_door(leg, {"cooldown_minutes": 600}).rejections == {}


def test_losses_of_the_day_and_drawdown_are_those_of_the_run() -> None:
    shapes = [P, P, P * 0.9, P * 0.9, P * 0.9, P * 0.9, P * 0.9]
    leg = hand_leg(shapes, {0: LONG, 2: LEAVE_LONG, 4: LONG})
    assert impact(leg, {"max_daily_loss_pct": 4}) == {"DAILY_LOSS": {"refused": 1, "cut": 0}}
    assert impact(leg, {"max_daily_loss_pct": None, "max_drawdown_pct": 4}) == {"DRAWDOWN": {"refused": 1, "cut": 0}}
    assert impact(leg, {"max_daily_loss_pct": 6, "max_drawdown_pct": 6}) == {}


def test_a_halt_ends_the_trading_of_an_event_run() -> None:
    shapes = [P, P, P * 0.9, P * 0.9, P * 0.9, P * 0.9, P * 0.9]
    leg = hand_leg(shapes, {0: LONG, 2: LEAVE_LONG, 4: LONG})
    found = through_the_door(leg, {"max_daily_loss_pct": 4})
    assert len(found.run.trades) == 1
    assert found.rejections == {"HALTED": 1}


def test_an_entry_that_states_no_confidence_is_refused_where_one_is_asked_for() -> None:
    leg = hand_leg(CALM, {0: LONG, 4: LEAVE_LONG}, LEVELS)
    assert impact(leg, {"min_confidence": "0.6"}) == {"CONFIDENCE": {"refused": 1, "cut": 0}}
    confident = replace(SPEC, long=replace(SPEC.long, entry=replace(SPEC.long.entry, confidence="0.7"))) if SPEC.long else SPEC
    assert impact(replace(leg, spec=confident), {"min_confidence": "0.6"}) == {}
    assert impact(replace(leg, spec=confident), {"min_confidence": "0.8"}) == {"CONFIDENCE": {"refused": 1, "cut": 0}}


def test_each_entry_is_judged_on_its_own() -> None:
    """The second entry is not spared because the first would have been refused."""
    leg = hand_leg(CALM, {0: LONG, 2: LEAVE_LONG, 4: LONG, 6: LEAVE_LONG}, spec=replace(SPEC, sizing=sized(500, SizingKind.ABS)))
    assert impact(leg, {"max_single_order_quote": 400}) == {"SINGLE_ORDER": {"refused": 2, "cut": 0}}


def test_an_open_trade_counts_as_an_entry() -> None:
    run = simulate([leg := hand_leg(CALM, {0: LONG}, LEVELS)], Terms())
    assert len(run.open_trades) == 1
    assert impact(leg, {"require_stops": True}) == {}
    assert np.all(run.trades.size > 0)
    assert impact(leg, {"max_single_order_quote": 100}) == {"SINGLE_ORDER": {"refused": 0, "cut": 1}}


def test_limits_are_named_by_kind_or_file(tmp_path: Path) -> None:
    assert resolve("engine").number("min_confidence") == D("0.6")
    file = tmp_path / "limits.yml"
    file.write_text("max_position_pct: 30\n", encoding="utf-8")
    assert resolve(str(file)).number("max_position_pct") == 30
    file.write_text("max_position: 30\n", encoding="utf-8")
    with pytest.raises(UnknownKey, match="max_position"):
        resolve(str(file))
    with pytest.raises(InvalidInput, match="no kind of limits and no file"):
        resolve("nobody")
