"""Data sets that can be named: one file each."""
