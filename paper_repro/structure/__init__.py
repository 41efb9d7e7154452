"""What full fine-tuning does to weights: ranks, outliers, and robust PCA of the updates."""
