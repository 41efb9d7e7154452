"""Parts of the command line: its options, and what `bayespeft doctor` looks at."""
