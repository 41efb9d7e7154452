"""How it is uncertain: one variational family (or other posterior), one file."""
