"""Public names of a package, imported when they are first used: `import distiller` should cost nothing."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of `package`, whose source is `file`.

    They provide the names that its source imports under `if TYPE_CHECKING:`, where type checkers see them too. A name
    that is also a module's cannot be provided: the module would replace it as soon as anything imports it.
    """
    module_of: dict[str, str] = {}
    for guarded in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        for node in guarded.body if isinstance(guarded, ast.If) else ():
            if isinstance(node, ast.ImportFrom):
                module_of |= {name.name: str(node.module) for name in node.names}
    listed = sorted(module_of)

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        return getattr(import_module(module_of[name]), name)

    return get, lambda: listed, listed
