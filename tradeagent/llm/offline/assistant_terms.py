"""The terms the offline assistant can explain, each in a sentence or two; `metric` names the figure of a backtest that shows it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """`words` is a pattern over lower-case text."""

    name: str
    words: str
    meaning: str
    metric: str = ""


TERMS = (
    Term(
        "deflated Sharpe",
        r"deflated|\bdsr\b",
        "The probability, 0 to 1, that the Sharpe ratio is above what the best of as many tries would reach by luck alone. "
        "Below 0.95 a result is not yet told apart from luck.",
    ),
    Term(
        "Sharpe ratio",
        r"sharpe",
        "Average return divided by how much it swings, per year. Above 1 is good for a strategy that is traded as tested; "
        "above 3 over a short span is usually luck or a mistake.",
        "sharpe",
    ),
    Term("Sortino ratio", r"sortino", "Like the Sharpe ratio, but only swings downwards count against the strategy.", "sortino"),
    Term("Calmar ratio", r"calmar", "Yearly return divided by the deepest drawdown.", "calmar"),
    Term(
        "drawdown",
        r"draw-?downs?",
        "How far equity fell from its highest point before it made a new one, in percent. "
        "It is what you must be able to sit through; live it is usually deeper than in the test.",
        "max_drawdown_pct",
    ),
    Term(
        "PBO",
        r"\bpbo\b|overfit\w*",
        "Probability of backtest overfitting, 0 to 1: how often the best parameters of one part of the data are below average on "
        "the rest. Above 0.3 the search mostly found noise.",
    ),
    Term(
        "rolling validation",
        r"rolling|cross-?validat\w*|walk-?forward|\bcv\b",
        "Parameters are searched on one stretch and tested on the next, again and again. Only the tests count: "
        "they are bars that the search has not seen.",
    ),
    Term(
        "win rate",
        r"win rate|hit rate",
        "The share of trades that made money. It says nothing without the size of wins and losses.",
        "win_rate_pct",
    ),
    Term(
        "profit factor",
        r"profit factor",
        "All gains divided by all losses. Below 1 the strategy loses; 1.2 to 2 is usual for one that holds.",
        "profit_factor",
    ),
    Term(
        "expectancy",
        r"expectancy",
        "What an average trade brings, in USDC or in R (multiples of what was risked).",
        "expectancy_r",
    ),
    Term(
        "funding",
        r"funding",
        "What longs pay shorts (when positive) or shorts pay longs every hour on the notional of a perpetual. Over weeks it can "
        "outweigh fees.",
        "funding_quote",
    ),
    Term(
        "leverage",
        r"leverage",
        "Notional divided by the margin set aside for it. It does not change what a price move earns on the notional; it brings the "
        "liquidation price nearer.",
    ),
    Term(
        "liquidation",
        r"liquidat\w*",
        "When equity falls to the maintenance margin the venue closes the position. The distance to it, in percent of the mark, is the "
        "move that ends it.",
        "liquidations",
    ),
    Term(
        "R multiple",
        r"\br[ -]?multiples?\b",
        "Profit of a trade in units of what its stop risked: +2 R made twice the risk, −1 R hit the stop.",
    ),
    Term(
        "slippage",
        r"slippage",
        "The difference between the price seen and the price filled, in basis points (0.01 %).",
        "slippage_quote",
    ),
    Term(
        "limits",
        r"\blimits?\b",
        "Rules of yours that every order must pass: sizes, positions, trades a day, daily loss, drawdown. No model can change them.",
    ),
    Term(
        "paper",
        r"\bpaper\b",
        "A simulated account on real prices, with fees, slippage, funding and liquidation. No money is at risk.",
    ),
    Term(
        "look-ahead",
        r"look-?ahead",
        "A strategy that uses a bar before it has closed sees the future and earns what nobody can. Each backtest is checked for it.",
    ),
    Term(
        "stop",
        r"\bstops?\b|stop loss",
        "An order that closes a position when price goes against it that far. It bounds the loss of one trade, except over a gap.",
    ),
)


def terms_in(text: str) -> list[Term]:
    """The terms a text names, in the order of the table."""
    lowered = text.lower()
    return [term for term in TERMS if re.search(term.words, lowered)]


def term(name: str) -> Term:
    return next(each for each in TERMS if each.name == name)
