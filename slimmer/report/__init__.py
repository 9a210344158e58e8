"""The rows that every output shares."""
