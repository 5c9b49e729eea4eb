"""Names of the components that a run may name. The tables that hold them need torch, and reading a run does not.

A test checks that each list matches its table.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from distiller.config.base import Choice, Component
from distiller.errors import did_you_mean

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "prediction objective": ("ce", "kl", "mse"),
    "intermediate objective": ("ce", "mse", "l2", "cos", "pkd", "attention_mse", "mi_alpha"),
    "layer mapping": ("skip", "skip_strict", "last", "emd", "pairs"),
    "critic": ("transformer", "mlp", "joint"),
    "augmentation operator": ("contextual", "random", "back_translation", "mixup"),
}
"""By what one of them is called in words."""


def _row_of(kind: str) -> AfterValidator:
    """Refuses what is called, or names, no row of the table `kind`."""

    def known(value: Any) -> Any:
        name = value.name if isinstance(value, Component) else value
        if name not in COMPONENTS[kind]:
            facts = {"kind": kind, "name": name, "hint": did_you_mean(name, list(COMPONENTS[kind]))}
            raise PydanticCustomError("no_component", "no {kind} is called `{name}`", facts)
        return value

    return AfterValidator(known)


Prediction = Annotated[Choice, _row_of("prediction objective")]
Intermediate = Annotated[str, _row_of("intermediate objective")]
Mapped = Annotated[Choice, _row_of("layer mapping")]
CriticName = Annotated[str, _row_of("critic")]
Operator = Annotated[Choice, _row_of("augmentation operator")]
