"""Bayesian model averaging: the one place where draws become a predictive law, one module for each kind of label."""
