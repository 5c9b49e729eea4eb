"""What all parts of a configuration share: frozen data, made from plain data, that name the field in each error."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from distiller.config.field_errors import config_error
from distiller.config.plain import refuse_impossible
from distiller.errors import ConfigError, OutputError, did_you_mean


class Config(BaseModel):
    """Frozen data; unknown keys are refused, with a `ConfigError` that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise config_error(error, type(self), type(self).__name__) from None

    # as in pydantic's own RootModel: parts of a larger whole are validated without it, and the whole names their place
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @model_validator(mode="before")
    @classmethod
    def _paths_as_text(cls, data: Any) -> Any:
        """Paths of a Python program, which are text in a file."""
        if not isinstance(data, Mapping):
            return data
        return {name: _as_text(one) for name, one in data.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(
            f"a `{type(self).__name__}` stays as it was made", hint=f'copy it: .model_copy(update={{"{name}": …}})'
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with the fields in `update` replaced. Raises `ConfigError` for a name that is no field."""
        for name, value in (update or {}).items():
            if name not in type(self).model_fields:
                raise ConfigError(
                    f"{type(self).__name__}: no field is called `{name}`",
                    hint=did_you_mean(name, [*type(self).model_fields]),
                )
            kept = getattr(self, name)
            if isinstance(kept, Config) and isinstance(value, Mapping):
                raise ConfigError(
                    f"{type(self).__name__}: `{name}` is a `{type(kept).__name__}`, not a mapping",
                    hint=f'copy that too: {name}.model_copy(update={{"{next(iter(value), "field")}": …}})',
                )
        return super().model_copy(update=update, deep=deep)


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_text(one) for one in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _listed(value: Any) -> Any:
    """Refuse what pydantic would take for a list: of a data frame the names of its columns."""
    if not isinstance(value, list | tuple):
        raise ValueError("input should be a list")
    return value


Files = Annotated[list[str], BeforeValidator(_listed)]
"""Names of files."""

C = TypeVar("C", bound=Config)


class Component(Config):
    """A row of a family by name, with its options. In YAML `kl` is short for `{name: kl}`."""

    name: str
    options: dict[str, Any] = {}


def stored(kind: type[C], file: Path, *, what: str, hint: str) -> C:
    """The `kind` that `file` holds as JSON. Raises `OutputError`, which calls it `what`, if it holds none."""
    no = f"`{file}` is not {'an' if what[0] in 'aeiou' else 'a'} {what}"
    try:
        return kind.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"there is no {what} at `{file}`", hint=hint) from None
    except OSError as error:
        raise OutputError(f"`{file}` cannot be read: {error.strerror}", hint=hint) from None
    except UnicodeDecodeError as error:
        raise OutputError(f"{no}: byte {error.start} is not UTF-8", hint=hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise OutputError(": ".join([no, *map(str, first["loc"]), first["msg"]]), hint=hint) from None


def spelt_out(value: Any) -> Any:
    """A name alone as the mapping that it is short for."""
    return {"name": value} if isinstance(value, str) else value


Choice = Annotated[Component, BeforeValidator(spelt_out)]


def parse(kind: type[C], data: Mapping[str, Any], *, where: str) -> C:
    """A `kind` from plain data. Raises `ConfigError` that begins with `where` and names the field."""
    refuse_impossible(data, where)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise config_error(error, kind, where) from None
