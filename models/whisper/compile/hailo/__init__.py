"""The kit for Hailo's compiler: static graphs, calibration sets, model scripts."""
