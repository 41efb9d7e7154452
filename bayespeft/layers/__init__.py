"""The layers of a network: which there are, what a drawn weight does to an input, what is merged into them."""
