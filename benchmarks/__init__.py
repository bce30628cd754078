"""What docindex costs: each script says what it measures; `python -m benchmarks.speed` compares with others."""
