"""What a posterior says of weights: covariances, laws, pruning, robust PCA."""
