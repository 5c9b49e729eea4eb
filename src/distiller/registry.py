"""Families of interchangeable components: a table from a name to a function.

A component is a function whose keyword-only arguments *are* its options. The table feeds the configuration
check, the CLI lists, the docs, the search space and the family tests, so each fact is written once.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from distiller.errors import ConfigError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


def _number(value: Any) -> Any:
    """`value`, unless it is a truth value, which Python counts as 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


Number = BeforeValidator(_number)
"""Stands after the bounds of a number, so that pydantic still knows it as one with bounds."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Number]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), Number]
Probability = Annotated[float, Field(ge=0, le=1), Number]
Count = Annotated[int, Field(ge=1, lt=2**31), Number]
Seed = Annotated[int, Field(ge=0, lt=2**32), Number]
"""What every random generator that is seeded takes."""


@dataclass(frozen=True)
class Entry(Generic[F]):
    """One row of a family: the function, where it comes from, and what the family needs to know about it."""

    function: F
    source: str
    """Where the method is described, e.g. `arXiv:1503.02531`."""
    traits: Mapping[str, Any] = field(default_factory=dict)
    """Facts that the callers of this family read, e.g. `{"per": "token"}`."""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def schema(self) -> type[BaseModel]:
        """The function's keyword-only arguments as a model that refuses unknown names and out-of-range values."""
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {
            name: (hints[name], ... if parameter.default is inspect.Parameter.empty else parameter.default)
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return create_model(self.function.__name__, __config__=ConfigDict(extra="forbid"), **fields)


@dataclass(frozen=True)
class Family(Generic[F]):
    """A named table of interchangeable functions, e.g. all prediction objectives."""

    kind: str
    """What one member is called, e.g. `prediction objective`."""
    entries: Mapping[str, Entry[F]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> Entry[F]:
        """The row called `name`; raises `ConfigError` that names the closest row."""
        try:
            return self.entries[name]
        except KeyError:
            raise ConfigError(
                f"no {self.kind} is called `{name}`", hint=did_you_mean(name, list(self.entries))
            ) from None

    def options(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options of the row `name`: those `given`, checked, and the defaults of the rest."""
        schema = self[name].schema
        for option in given:
            if option not in schema.model_fields:
                known = list(schema.model_fields)
                raise ConfigError(
                    f"no option of {self.kind} `{name}` is called `{option}`",
                    hint=did_you_mean(option, known) if known else f"`{name}` has no options",
                )
        try:
            checked = schema(**given)
        except ValidationError as error:
            first = error.errors()[0]
            option = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "missing":
                raise ConfigError(
                    f"{self.kind} `{name}` needs the option `{option}`", hint=f"options: {{{option}: …}}"
                ) from None
            default = schema.model_fields[option].default
            raise ConfigError(
                f"option `{option}` of {self.kind} `{name}`: {first['msg'].lower()}, got {first['input']!r:.60}",
                hint=f"the default is {'null' if default is None else repr(default)}"
                if not schema.model_fields[option].is_required()
                else "it has no default",
            ) from None
        return {option: getattr(checked, option) for option in schema.model_fields}
