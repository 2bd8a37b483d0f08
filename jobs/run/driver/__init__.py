"""The driver: rows of a feed become units for a pool, and their results rows of a ledger."""
