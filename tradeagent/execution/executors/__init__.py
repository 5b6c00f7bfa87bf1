"""Executors: durable, deterministic operations of several orders, each a state machine that the runner steps (execution.md §10)."""
