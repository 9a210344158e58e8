"""Plans: what may leave, what must stay, and which steps reach the budget."""
