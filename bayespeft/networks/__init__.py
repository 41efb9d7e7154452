"""What is known of the networks of Hugging Face: their conventions, read by attribute. No other room spells them out.

Nothing here imports transformers: a network of one's own that follows a convention is understood as theirs are, and one that
does not has no embeddings, no limits and no names of outputs.
"""
