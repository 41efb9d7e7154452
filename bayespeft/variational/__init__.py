"""The joint guide over all layers: its noise, its KL, what an attempt at it shows."""
