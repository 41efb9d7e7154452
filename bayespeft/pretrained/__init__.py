"""Pretrained models that can be named without a hub: one file each."""
