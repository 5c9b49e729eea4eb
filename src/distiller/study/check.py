"""Whether the runs of a study can work, before any of them starts."""

from distiller.errors import DistillerError
from distiller.study.search_space import SearchSpace, covering


def check_runs(space: SearchSpace) -> None:
    """Resolve runs that together have every task, teacher, student and level against their data and models.

    Raises the `DistillerError` with which the first of them would end, and names that run. Trains nothing.
    """
    from distiller.run import check

    checked: set[str] = set()
    for cell in space.cells:
        parts = {f"task {cell.task}", f"teacher {cell.teacher}", f"student {cell.student}"}
        if parts <= checked:
            continue
        points = covering(space, cell)
        for point in points[:1] if checked else points:  # the first cell has every level
            try:
                check(space.run(cell, point))
            except DistillerError as error:
                levels = "".join(f", {name}={label}" for name, label in point.items())
                error.message = f"trial {cell.name}{levels}: {error.message}"
                error.args = (error.message,)
                raise
        checked |= parts
