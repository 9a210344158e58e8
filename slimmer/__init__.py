"""slimmer takes a container image apart to the byte, and makes it fit its size budget."""
