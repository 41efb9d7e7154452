"""Measurements and reproductions: scripts, and the results file that feeds the tables."""
