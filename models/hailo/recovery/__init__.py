"""Recovery of a failed NPU: the recovery ladder, its parity probe, the CPU as replacement."""
