"""ELF files: what a loader sees, what lies inside, and how parts of them are given back."""
