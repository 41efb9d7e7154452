"""Ordered classes, such as stars or grades, for bayespeft."""
