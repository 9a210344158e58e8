"""What is so about one image beyond its bytes: who requires, links and imports whom."""
