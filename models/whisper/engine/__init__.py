"""The engine of compiled bundles: encoder, decoder slots, vocabulary, search, word times."""
