"""What a backtest looks like: characters for the terminal, one HTML page, one PNG."""
