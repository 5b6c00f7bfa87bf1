"""The door's answer as JSON shows it: the rule with its figures, or the words, or neither."""

from decimal import Decimal

from tradeagent.domain.names import OrderState, Rule, VerdictKind
from tradeagent.domain.order import OrderReport, Rejection, RuleCheck, Verdict


def test_a_rejection_shows_its_rule_and_figures() -> None:
    refused = Rejection(Rule.MARGIN, "too large", "max_leverage", "3", "4", "0.5")
    verdict = Verdict(
        VerdictKind.REJECTED, "i1", refused, "words", (RuleCheck(Rule.SHAPE, ok=True), RuleCheck(Rule.MARGIN, False, "4", "3"))
    )
    shown = verdict.as_dict()
    assert (verdict.rule, shown["verdict"], shown["rule"], shown["intent_id"]) == (Rule.MARGIN, "rejected", "MARGIN", "i1")
    assert shown["detail"] == {
        "rule": "MARGIN",
        "limit_key": "max_leverage",
        "limit": "3",
        "value": "4",
        "max_ok": "0.5",
        "message": "too large",
    }
    assert shown["checks"] == [
        {"rule": "SHAPE", "ok": True, "value": None, "limit": None},
        {"rule": "MARGIN", "ok": False, "value": "4", "limit": "3"},
    ]


def test_what_was_not_refused_shows_its_words_or_nothing() -> None:
    with_words, without = Verdict(VerdictKind.UNKNOWN, message="no answer"), Verdict(VerdictKind.EXECUTED, fills=({"price": "1"},))
    assert (with_words.rule, with_words.as_dict()["rule"], with_words.as_dict()["detail"]) == (None, None, {"message": "no answer"})
    assert (without.as_dict()["detail"], without.as_dict()["order"], without.as_dict()["fills"]) == (None, None, [{"price": "1"}])


def test_a_report_says_what_the_venue_said() -> None:
    report = OrderReport("0x1", 7, OrderState.FILLED, Decimal(2), Decimal("100.5"), "filled")
    assert (report.cloid, report.oid, report.state.is_live, report.filled * (report.average_price or 0)) == ("0x1", 7, False, 201)
