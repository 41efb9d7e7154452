"""What is learned: one adapter, one file."""
