"""Distil a large language model into a small, fast one for one task, and know which choices made it good."""

__version__ = "0.1.0"
