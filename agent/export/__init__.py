"""The way out: poll, start, write, finish."""
