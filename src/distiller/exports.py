"""Names that a package gives, imported when they are first used: `import distiller` should cost nothing."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(
    package: str, homes: Mapping[str, Sequence[str]], *, base: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of `package`, from modules to the names that each gives.

    Modules are those of the package `base`, by default of `package` itself.

    `"theirs as ours"` gives a name another one. A name that is a module's too cannot be given this way: the module
    would take its place as soon as anybody imports it.
    """
    found: dict[str, tuple[str, str]] = {}
    for module, names in homes.items():
        for name in names:
            theirs, _, ours = name.partition(" as ")
            found[ours or theirs] = (f"{base or package}.{module}", theirs)

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        module, theirs = found[name]
        return getattr(import_module(module), theirs)

    return get, lambda: sorted(found)
