"""The losses under their names, for a training loop of one's own.

Each is a pure function: tensors first, options as keywords, one number per example as result; padding never counts.
`kl`, `ce` and `mse` compare outputs. Those on hidden states are called after the layers that they read where a loss on
outputs has the same name: `hidden_mse`, `hidden_ce`. `mi_alpha` scores what a critic gives (`distiller.objectives`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distiller.objectives.intermediate import attention_mse as attention_mse
    from distiller.objectives.intermediate import ce as hidden_ce
    from distiller.objectives.intermediate import cos as cos
    from distiller.objectives.intermediate import l2 as l2
    from distiller.objectives.intermediate import mse as hidden_mse
    from distiller.objectives.intermediate import pkd as pkd
    from distiller.objectives.mutual_information import mi_alpha as mi_alpha
    from distiller.objectives.prediction import binary_cross_entropy as binary_cross_entropy
    from distiller.objectives.prediction import ce as ce
    from distiller.objectives.prediction import cross_entropy as cross_entropy
    from distiller.objectives.prediction import kl as kl
    from distiller.objectives.prediction import mse as mse
    from distiller.objectives.prediction import squared_error as squared_error

_HOMES = {
    "attention_mse": ("intermediate", "attention_mse"),
    "binary_cross_entropy": ("prediction", "binary_cross_entropy"),
    "ce": ("prediction", "ce"),
    "cos": ("intermediate", "cos"),
    "cross_entropy": ("prediction", "cross_entropy"),
    "hidden_ce": ("intermediate", "ce"),
    "hidden_mse": ("intermediate", "mse"),
    "kl": ("prediction", "kl"),
    "l2": ("intermediate", "l2"),
    "mi_alpha": ("mutual_information", "mi_alpha"),
    "mse": ("prediction", "mse"),
    "pkd": ("intermediate", "pkd"),
    "squared_error": ("prediction", "squared_error"),
}
__all__ = [
    "attention_mse",
    "binary_cross_entropy",
    "ce",
    "cos",
    "cross_entropy",
    "hidden_ce",
    "hidden_mse",
    "kl",
    "l2",
    "mi_alpha",
    "mse",
    "pkd",
    "squared_error",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `distiller.losses` has no attribute `{name}`")
    module, function = _HOMES[name]
    return getattr(import_module(f"distiller.objectives.{module}"), function)


def __dir__() -> list[str]:
    return __all__
