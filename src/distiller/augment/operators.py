"""The table of augmentation operators."""

from collections.abc import Callable
from typing import Any

from distiller.augment import back_translation, contextual, random_words
from distiller.augment.mixup import mixup
from distiller.registry import Entry, Family

AUGMENTERS: Family[Callable[..., Any]] = Family(
    "augmentation operator",
    {
        "contextual": Entry(
            contextual.contextual,
            source="arXiv:1909.10351",
            traits={"on": "text", "expensive": True, "prepare": contextual.prepare, "models": ("model",)},
        ),
        "random": Entry(
            random_words.random_words,
            source="arXiv:1901.11196",
            traits={"on": "text", "expensive": False, "prepare": random_words.prepare},
        ),
        "back_translation": Entry(
            back_translation.back_translation,
            source="arXiv:1904.12848",
            traits={
                "on": "text",
                "expensive": True,
                "check": back_translation.check,
                "prepare": back_translation.prepare,
                "models": ("forward", "backward"),
                "steady": lambda options: options["decoding"] == "beam",
            },
        ),
        "mixup": Entry(mixup, source="arXiv:2011.00593", traits={"on": "embeddings"}),
    },
)
"""`on`: what is changed. Text operators edit passages and further say: `expensive`, whether their edits are worth
keeping on disk; `prepare(**options)` loads what they need and raises what is wrong with it, `check(**options)` what is
wrong with the options alone; `models`, options that name weights; `steady(options)`, whether the same text always
becomes the same."""
