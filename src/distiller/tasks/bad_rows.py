"""Rows that cannot be used: the first one is an error, or all are left out and counted."""

from dataclasses import dataclass, field

from distiller.errors import DataError, warn


@dataclass(frozen=True)
class BadRows:
    """The unusable rows of one split; with `leave_out` they are collected instead of raised."""

    leave_out: bool = False
    errors: list[DataError] = field(default_factory=list)

    @property
    def first(self) -> str | None:
        """The first error, as a hint for the case that no row is left."""
        return f"the first problem: {self.errors[0].message}" if self.errors else None

    def meet(self, error: DataError) -> None:
        """Raise `error` with a hint on leaving such rows out; with `leave_out`, remember it instead."""
        if not self.leave_out:
            hint = "--skip-bad, or skip_bad: true in the run, leaves such rows out"
            raise DataError(error.message, hint=f"{error.hint}; {hint}" if error.hint else hint)
        self.errors.append(error)

    def warn(self, where: str) -> None:
        """Warn of the number of rows of the file or data set `where` that were left out, with the first reason."""
        if self.errors:
            warn(f"`{where}`: left out {len(self.errors)} bad row(s), the first: {self.errors[0].message}")
