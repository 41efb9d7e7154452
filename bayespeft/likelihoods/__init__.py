"""What the network's output means: one likelihood, one file."""
