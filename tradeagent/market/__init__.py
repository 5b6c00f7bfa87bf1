"""Bars and funding, from files and the venue, in a Parquet warehouse; quality checks, as-of readers and feeds; news and calendar events."""
