"""Images of a local container engine, Docker or Podman, through its API and its folders."""
