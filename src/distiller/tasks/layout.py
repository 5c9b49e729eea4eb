"""The format of a task's files, as far as the files do not state it themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from distiller.config import Task


@dataclass(frozen=True)
class Layout:
    """The format of files, as far as they do not state it themselves."""

    encoding: str | None = None
    """`None`: UTF-8, or the encoding of the byte order mark."""
    separator: str | None = None
    """Separator of cells. `None`: that of the header line."""
    columns: Sequence[str] | None = None
    """Names of the columns of a file without a header line."""
    text: str = "text"
    """Name of the only column of a .txt file of texts."""
    label: str = "label"
    """Name of the label column of a fastText file."""
    optional: str | None = None
    """The one of `columns` that a file may lack: the label column, for unlabelled files."""

    @classmethod
    def of(cls, task: Task, *, labelled: bool = True) -> "Layout":
        """The format of the files of `task`; files that are not `labelled` may lack the label column."""
        optional = None if labelled else task.label
        return cls(task.encoding, task.separator, task.columns, task.text, task.label, optional)
