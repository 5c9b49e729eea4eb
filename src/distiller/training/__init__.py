"""Eq. (1) as one number, and the `transformers.Trainer` that minimises it."""
