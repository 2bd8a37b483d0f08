"""The batch job: command line, config, driver loop, ledger, Parquet, reports, export, schedule, metrics.

Knows nothing of how speech is recognised.
"""
