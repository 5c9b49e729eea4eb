"""Families of interchangeable components: a table from a name to a function.

A component is a function whose keyword-only arguments *are* its options. The table feeds the configuration check, the
CLI lists, the docs, the search space and the family tests, so each fact is written once.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, wraps
from typing import Annotated, Any, Generic, TypeVar, cast, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from distiller.errors import ConfigError, OptionError, did_you_mean

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
        return checked_options(f"{self.kind} `{name}`", self[name].schema, given)


def checked_options(whose: str, schema: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a component: those `given`, and the defaults of the rest. Raises `OptionError`."""
    for option in given:
        if option not in schema.model_fields:
            known = list(schema.model_fields)
            raise OptionError(
                f"no option of {whose} is called `{option}`",
                hint=did_you_mean(option, known) if known else f"{whose} has no options",
            )
    try:
        checked = schema(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing":
            raise OptionError(f"{whose} needs the option `{option}`", hint=f"options: {{{option}: …}}") from None
        default = schema.model_fields[option].default
        raise OptionError(
            f"option `{option}` of {whose}: {first['msg'].lower()}, got {first['input']!r:.60}",
            hint=f"the default is {'null' if default is None else repr(default)}"
            if not schema.model_fields[option].is_required()
            else "it has no default",
        ) from None
    return {option: getattr(checked, option) for option in schema.model_fields}


@cache
def with_checked_options(function: F) -> F:
    """`function` for direct calls: options are checked as those of a run are. Raises `OptionError`."""
    schema = Entry(function, source="").schema

    @wraps(function)
    def checking(*tensors: Any, **options: Any) -> Any:
        known = {name: value for name, value in options.items() if name in schema.model_fields}
        return function(*tensors, **options | checked_options(f"`{function.__name__}`", schema, known))

    return cast("F", checking)
