"""What the default call does on tasks that chose nothing, beside maximum likelihood as people train it."""
