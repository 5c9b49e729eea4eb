"""Run the cells of a notebook in this process, and keep what they print and show. Needs no Jupyter.

python examples/execute.py examples/distil_a_classifier.ipynb
"""

import ast
import contextlib
import io
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

LONGEST = 4000
"""Characters of one output that are kept."""


def execute(file: Path, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The notebook in `file` with fresh outputs. Cells with a tag in `without` are left out."""
    notebook = json.loads(file.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "notebook"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or set(cell["metadata"].get("tags", [])) & set(without):
            continue
        count += 1
        cell["execution_count"], cell["outputs"] = count, outputs("".join(cell["source"]), names, count)
    return notebook


def outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints, and the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    if value is not None:
        shown = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):  # which notebooks show in place of the other
            shown = {"text/html": lines(value._repr_html_()), "text/plain": [f"<{type(value).__name__}>"]}
        found.append({"data": shown, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return found


def lines(text: str) -> list[str]:
    return text[:LONGEST].splitlines(keepends=True)


def main() -> None:
    file = Path(sys.argv[1])
    text = json.dumps(execute(file), indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
