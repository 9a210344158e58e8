"""What command line, TUI and library share: from a reference to a result."""
