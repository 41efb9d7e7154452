"""What `fit` returns."""
