"""What happens when an NPU fails: the recovery ladder, its parity probe, the CPU that stands in."""
