"""A likelihood of ordered classes, as another package would bring it."""
