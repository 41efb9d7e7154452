"""Do promises hold, and how strong are they? Simulations of decisions, intervals and conformal sets with known answers."""
