"""Pretrained models for operators, loaded like teachers, and what tells versions of a folder apart."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_weights(auto: Any, name: str, *, device: str = "cpu", what: str, hint: str) -> "PreTrainedModel":
    """The model as the class `auto` of `transformers` loads it, in float32, for inference.

    `what` is the head it should have, `hint` what to do if it has none. Raises a one-line `ModelError`, also where
    weights are missing and would be initialised at random.
    """
    import torch

    from distiller.models.folders import explained, resolve

    with explained(name), torch.random.fork_rng(devices=[]):
        try:
            model, report = auto.from_pretrained(
                resolve(name), use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            raise ModelError(f"`{name}` is no {what}", hint=hint) from None
    missing = sorted(key for key in report["missing_keys"] if ".pooler." not in key)
    if missing or report["mismatched_keys"]:
        raise ModelError(f"`{name}` is no {what}: it lacks {len(missing) or 'fitting'} weights of one", hint=hint)
    return model.to(device).eval().requires_grad_(False)


@cache
def stamp(name: str) -> str:
    """Distinguishes the weights in a folder from earlier ones there: names, sizes and times of its files."""
    from distiller.models.folders import resolve

    folder = Path(resolve(name))
    if not folder.is_dir():
        return name
    facts = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.glob("*.*"))
    return hashlib.sha256(repr(facts).encode()).hexdigest()
