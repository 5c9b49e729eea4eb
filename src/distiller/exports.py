"""Names that a package gives, imported when they are first used: `import distiller` should cost nothing."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(
    package: str, homes: Mapping[str, Sequence[str]], *, base: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of `package`, from modules to the names that each gives.

    Modules are those of the package `base`, by default of `package` itself. A name that is a module's too cannot be
    given this way: the module would take its place as soon as anybody imports it.
    """
    module_of = {name: f"{base or package}.{module}" for module, names in homes.items() for name in names}
    listed = sorted(module_of)

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        return getattr(import_module(module_of[name]), name)

    return get, lambda: listed, listed
