"""Deterministic rule-based models: no network, no key, the same messages and tool calls as any model, labelled as rules."""
