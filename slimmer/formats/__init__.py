"""Reports as text for people, as JSON for programs, and as Markdown for reviews."""
