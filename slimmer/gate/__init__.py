"""The release gate: limits, and whether an image keeps them."""
