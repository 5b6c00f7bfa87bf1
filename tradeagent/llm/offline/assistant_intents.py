"""Which script answers a sentence: that of the first row of the table whose pattern is in it."""

import re
from collections.abc import Callable

from tradeagent.llm.offline import assistant_actions as actions
from tradeagent.llm.offline import assistant_scripts as scripts
from tradeagent.llm.offline import assistant_words as words
from tradeagent.llm.offline.assistant_talk import Script, Talk
from tradeagent.llm.offline.assistant_terms import terms_in

EXAMPLES = """\
I am rule-based: I know the product's tools and these kinds of sentences.

- "backtest sma_cross on BTC 1h from 2025-05-01 with fast 10 and slow 40"
- "optimise it, fast 5 to 20 step 5, 30 trials", "does it hold?", "how far is it?", "compare them"
- "explain it", "what is a drawdown?", "plot the equity"
- "save it as mine", "deploy mine to WALLET" (prepares a card; only you can commit it)
- "draft an agent that buys BTC breakouts with a tight stop"
- "status", "my positions", "how is my risk?", "what did AGENT decide?" (modes coach and ops)
- "price of ETH", "chart BTC 4h", "funding of BTC", "news about BTC", "what is in the calendar?"
- "list the algorithms", "show breakout", "remember that I think in UTC", "what do my notes say about funding?", "costs"

A model of your own understands everything else: `tradeagent config set assistant.model PROVIDER/NAME`, or /model here."""
_ASKS = re.compile(
    r"^\W*(?:please\s+)?(?:(?:can|could) you\s+)?(?:explain|interpret|define|why\b"
    r"|what(?:'s| is| are| does| do| did| went)|how (?:do i read|good)|is (?:it|this|that)\b|tell me (?:about|more)|meaning of)",
    re.IGNORECASE,
)
_RESULT = re.compile(r"\b(?:it|this|that|back-?tests?|results?|last|search|stud(?:y|ies))\b", re.IGNORECASE)
_MINE = re.compile(r"\b(?:running|runs|my|mine|price|holding|hold|now|current(?:ly)?|wallets?|today|calendar|news|rate)\b", re.IGNORECASE)

Row = tuple[str, Callable[[Talk], Script]]


def _said(text: str) -> Callable[[Talk], Script]:
    def script(_talk: Talk) -> Script:
        yield from ()
        return text

    return script


TABLE: tuple[Row, ...] = (
    (
        r"^\W*(?:yes|y|ok(?:ay)?|sure|i?\s?confirm(?:ed)?|do it|go ahead|approved?)\b"
        r"(?:\W+(?:i|please|do|it|go|ahead|confirm(?:ed)?|that|now|cards?|all|\w{26}))*\W*$",
        _said(actions.ONLY_YOU),
    ),
    (r"^\W*(?:help|hi|hello|hey|\?)\b|what can (?:you|i) (?:do|ask|say)|who are you", _said(EXAMPLES)),
    (r"\bremember\b", scripts.remember),
    (r"\bnotes?\b|\bmemory\b", scripts.notes),
    (r"how far|is it (?:done|ready|finished)|progress", scripts.progress),
    (r"\bcompare\b", scripts.compare),
    (r"cross-?valid|walk-?forward|\brolling\b|\bcv\b|\b(?:does|will|did|would) \w+ hold|hold up|out of sample|overfit", scripts.validate),
    (r"optimi[sz]|best param|\btune\b|grid search|search (?:for )?(?:the )?param", scripts.optimize),
    (r"\b(?:save|keep)\b", actions.save),
    (r"equity curve|\b(?:plot|draw)\b", scripts.plot),
    (r"\bdeploy\b|\bput\b.*\b(?:on|to) (?:paper|a wallet|wallet)|\brun\b.*\bon (?:paper|wallet)|go live", actions.deploy),
    (r"\bback-?test|\btest\b|\btry\b|how would .* have|\bsimulate\b", scripts.backtest),
    (r"^\W*(?:please )?stop\b|\bshut down\b", actions.stop),
    (r"\b(?:show|preview)\b.*\bdraft\b|^\W*(?:the )?draft\W*$", actions.show_draft),
    (
        r"\b(?:draft|write|create|make|build|design|author|new)\b.*\b(?:agent|bot|trader|algo|algorithm|strategy)\b|^\W*draft\b",
        actions.draft,
    ),
    (r"\bdecisions?\b|\bdecided?\b|what (?:did|has) .* do|why did", scripts.decisions),
    (r"\brisks?\b|\bmargin\b|\bsafe\b|liquidat", scripts.risk),
    (r"\bpositions?\b|portfolio|holding|\bi hold\b|open orders|exposure", scripts.plain("get_portfolio", words.positions)),
    (r"\bnews\b|headlines?", scripts.plain("get_news", words.news, hours=72)),
    (r"\bcalendar\b|\bevents?\b|upcoming|coming up", scripts.plain("get_upcoming_events", words.events)),
    (r"\bfunding\b(?! carry)", scripts.plain("get_funding", words.funding, market=True, hours=72)),
    (r"\bcharts?\b|candles?", scripts.chart),
    (r"\bprices?\b|\bquote\b|how much is|where is (?:btc|eth|sol)|\bticker\b", scripts.plain("get_ticker", words.ticker, market=True)),
    (r"\bcosts?\b|\busage\b|tokens?|\bspen[dt]\b", scripts.plain("get_usage", words.usage)),
    (r"\b(?:list|which|what)\b.*\b(?:algo|algorithm|strateg|template)", scripts.plain("list_algorithms", words.algorithms)),
    (r"\balgo wallets?\b", scripts.plain("get_algo_wallets_overview", words.accounts)),
    (r"\bstatus\b|running|\bruns\b|overview|deployments?|how (?:are|is) (?:things|everything|my)|\bwallets?\b|\bequity\b", scripts.status),
    (r"\bshow\b|\bdescribe\b|\bopen\b", scripts.show_algorithm),
)


def script_for(text: str) -> Callable[[Talk], Script] | None:
    """The script of a sentence; None when it is not understood."""
    if _ASKS.search(text) and not _MINE.search(text) and (terms_in(text) or _RESULT.search(text)):
        return scripts.explain
    return next((script for pattern, script in TABLE if re.search(pattern, text, re.IGNORECASE)), None)
