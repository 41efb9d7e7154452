"""The Pyro model, the objective, the loop, and prediction."""
