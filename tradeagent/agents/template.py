"""What `agent new` starts from: a definition that runs at once with the offline model, every line to be changed."""

TEMPLATE = """\
---
name: {name}
description: Trades BTC pullbacks in the direction of the 4h trend.
model: offline/momentum            # or any LiteLLM model id, or acp:<command>
markets: [BTC]
tick_interval: 5m                  # or cron: "*/15 * * * *" with timezone: UTC
strategy:
  mode: thesis                     # thesis | rules | hybrid
  leash: balanced                  # strict | balanced | adaptive
  horizon: intraday
context: {bars: {interval: 15m, lookback: 96}, funding: true}
configs: {risk_per_trade_pct: 0.1} # the agent may suggest other values; you approve them
limits:                            # only you change these
  max_single_order_quote: 100
  max_position_size_quote: 500
  max_daily_loss_quote: 50
  max_drawdown_pct: 10
budget: {max_cost_per_day_usd: 5}
approval: auto                     # copilot asks you before each entry
---

# Strategy

Write in plain words what to look for, when to enter, where the stop goes, and when to do nothing.

- Trade only in the direction of the 4-hour trend.
- Enter on a pullback; the stop goes below the last swing.
- Take the target at twice the risk. When in doubt, wait.
"""
