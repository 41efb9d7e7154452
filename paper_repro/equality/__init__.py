"""Whether two commits compute the same: digests of what every method predicts."""
