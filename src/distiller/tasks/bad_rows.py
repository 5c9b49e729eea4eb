"""What is done about rows that cannot be used: the first one is refused, or all are left out and counted."""

from dataclasses import dataclass, field

from distiller.errors import DataError, warn


@dataclass(frozen=True)
class BadRows:
    """The rows of one split that cannot be used. Where they are left out, each is met once and counted."""

    leave_out: bool = False
    errors: list[DataError] = field(default_factory=list)

    @property
    def first(self) -> str | None:
        """What is wrong with the first of them, as a hint says it where no row is left."""
        return f"the first problem: {self.errors[0].message}" if self.errors else None

    def meet(self, error: DataError) -> None:
        """Raise `error`, with the way to leave such rows out in its hint, or remember it as one more of those."""
        if not self.leave_out:
            hint = "--skip-bad, or skip_bad: true in the run, leaves such rows out"
            raise DataError(error.message, hint=f"{error.hint}; {hint}" if error.hint else hint)
        self.errors.append(error)

    def warn(self, where: str) -> None:
        """Say once how many rows of the file or data set `where` were left out, and why the first was."""
        if self.errors:
            warn(f"`{where}`: left out {len(self.errors)} bad row(s), the first: {self.errors[0].message}")
