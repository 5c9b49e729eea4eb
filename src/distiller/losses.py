"""The losses by name, for a user's own training loop.

Each is a pure function: tensors first, options as keywords, one number per example as result (one per label in
`binary_cross_entropy`); padding never counts.
`kl`, `ce` and `mse` compare outputs. A loss on hidden states whose name a loss on outputs has too is named after its
layers: `hidden_mse`, `hidden_ce`. `mi_alpha` takes the scores of a critic (`distiller.objectives`). An option out of
its range raises `OptionError`, which is a `ValueError`.
"""

from typing import TYPE_CHECKING, Any

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.objectives.intermediate import attention_mse as attention_mse
    from distiller.objectives.intermediate import cos as cos
    from distiller.objectives.intermediate import hidden_ce as hidden_ce
    from distiller.objectives.intermediate import hidden_mse as hidden_mse
    from distiller.objectives.intermediate import l2 as l2
    from distiller.objectives.intermediate import pkd as pkd
    from distiller.objectives.mutual_information import mi_alpha as mi_alpha
    from distiller.objectives.prediction import binary_cross_entropy as binary_cross_entropy
    from distiller.objectives.prediction import ce as ce
    from distiller.objectives.prediction import cross_entropy as cross_entropy
    from distiller.objectives.prediction import kl as kl
    from distiller.objectives.prediction import mse as mse
    from distiller.objectives.prediction import squared_error as squared_error

_get, __dir__, __all__ = lazily(__name__, __file__)


def __getattr__(name: str) -> Any:
    from distiller.registry import with_checked_options

    return with_checked_options(_get(name))
