"""What becomes of each member of each layer when a plan is carried out."""
