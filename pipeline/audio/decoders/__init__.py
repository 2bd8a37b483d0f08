"""Decoders: one per library, and the choice between them."""
