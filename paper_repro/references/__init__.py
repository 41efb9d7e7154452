"""How far figures are from those of other implementations."""
