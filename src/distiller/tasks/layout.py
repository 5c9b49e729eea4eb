"""How the files of a task are written, where they do not say it themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from distiller.config import Task


@dataclass(frozen=True)
class Layout:
    """How files are written, where they do not say it themselves."""

    encoding: str | None = None
    """`None`: UTF-8, or what a byte order mark says."""
    separator: str | None = None
    """Between cells; `None`: that of the header line."""
    columns: Sequence[str] | None = None
    """Names of the columns of a file without a header line."""
    text: str = "text"
    """What the one column of a .txt file of texts is called."""
    label: str = "label"
    """What the labels of a file of fastText are called."""
    optional: str | None = None
    """The one of `columns` that a file may lack: the labels, where they are not known."""

    @classmethod
    def of(cls, task: Task, *, labelled: bool = True) -> "Layout":
        """How the files of `task` are written; those that are not `labelled` may lack the column of labels."""
        optional = None if labelled else task.label
        return cls(task.encoding, task.separator, task.columns, task.text, task.label, optional)
