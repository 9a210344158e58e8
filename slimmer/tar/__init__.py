"""Tar archives at full fidelity: headers read, and written back byte for byte."""
