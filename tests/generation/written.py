"""Texts that were written, by hand."""

from __future__ import annotations

EVIL = "<script>alert('x')</script>"
