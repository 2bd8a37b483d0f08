"""The data set on disk: ledger, part files, index, schema, lock, verification."""
