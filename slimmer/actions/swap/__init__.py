"""Puts the CPU wheel of a distribution in the place of its CUDA build."""
