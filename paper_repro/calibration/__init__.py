"""How calibrated each method is on a real network and real data."""
