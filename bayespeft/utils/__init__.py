"""What stands beneath everything: checks of arguments, files, memory, threads, random state."""
