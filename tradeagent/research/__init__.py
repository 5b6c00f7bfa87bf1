"""Backtests and what may be concluded from them: kernel, metrics, honesty, optimisation, cross-validation, reports."""
