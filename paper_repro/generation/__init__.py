"""Does the uncertainty of written text predict its errors."""
