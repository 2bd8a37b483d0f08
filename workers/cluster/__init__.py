"""Pools of Ray actors, embedded or on the nodes of a cluster."""
