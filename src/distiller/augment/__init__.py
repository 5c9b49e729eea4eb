"""Augmentation: operators on texts and embeddings, and policies that chain them, for texts that training never saw."""

from distiller.augment.operators import AUGMENTERS
from distiller.augment.policy import Policy, build_policy, check_policy

__all__ = ["AUGMENTERS", "Policy", "build_policy", "check_policy"]
