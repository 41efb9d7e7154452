"""All that is measured on a GPU, by one command with a deadline."""
