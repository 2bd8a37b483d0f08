"""The batch job: command line, configuration, driver, ledger, data set, reports, export, schedule, metrics.

Does not know how speech is recognised.
"""
