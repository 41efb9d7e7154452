"""Text from a posterior: written with probabilities that are averaged over draws, scored, and shown with what is uncertain."""
