"""Training in random subspaces (ROSA) against low rank, sparse, full and layer-wise training."""
