"""Harm done to everything that the package writes, reads and is given: what comes of it, counted."""
