"""The engine of compiled bundles: encoder, decoder slots, vocabulary, beam search, word times."""
