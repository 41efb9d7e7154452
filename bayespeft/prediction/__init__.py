"""Draws of the weights to one predictive law: which draws, folded how, linearised how."""
