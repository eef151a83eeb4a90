"""Scoring models, endpoints and files of predictions on records and benchmarks: `samvlm eval`."""
