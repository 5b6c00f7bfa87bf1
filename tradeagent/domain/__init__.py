"""Nouns and pure arithmetic of trading: no files, no clocks, no network. Imports nothing but the standard library."""
