"""Images in a tar."""
