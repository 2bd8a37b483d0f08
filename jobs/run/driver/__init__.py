"""The driver: turns rows of a feed into units for a pool, and their results into rows of a ledger."""
