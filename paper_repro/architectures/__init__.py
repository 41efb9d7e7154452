"""Which networks of transformers can be given a posterior: every auto class, on tiny random configurations."""
