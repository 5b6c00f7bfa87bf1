"""TradeAgent: a terminal workspace to design, test, run and trust trading agents on perpetual futures."""

__version__ = "0.1.0"
