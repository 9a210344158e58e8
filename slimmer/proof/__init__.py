"""The proof that a result still works. It shares no code with the edits that it judges."""
