"""Packages that bayespeft knows nothing of: each is registered by an entry point, and edits nothing in the house."""
