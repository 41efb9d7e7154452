"""What is believed about a factor before the data: one prior, one file."""
