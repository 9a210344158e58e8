"""OCI image layouts in a folder (OCI `image-layout.md`)."""
