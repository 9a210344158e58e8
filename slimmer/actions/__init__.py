"""One file for each way to shrink an image."""
