"""Strategies as values: the written form of an algo, its expressions and indicators, and the signals it gives on bars."""
