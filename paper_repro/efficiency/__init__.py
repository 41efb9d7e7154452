"""What methods cost."""
