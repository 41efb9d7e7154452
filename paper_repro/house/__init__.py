"""The package's own structure: who calls whom across its rooms."""
