"""Every error that a user can cause: one line that says what and where, one hint, one exit code. And warnings."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

_BREAKS = re.compile(r"[\r\n\v\f\x85\u2028\u2029]+")
"""What ends a line on some terminal."""

PACKAGE = str(Path(__file__).parent)


class DistillerError(Exception):
    """Base of all errors of this package. `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = _BREAKS.sub(" ", concealed(message))  # quoted text may hold anything
        self.hint = concealed(hint) if hint else hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(DistillerError):
    """A run, recipe or override that asks for something impossible."""


class OptionError(ConfigError, ValueError):
    """An option that a component does not have, or a value that it does not accept."""


class DataError(DistillerError):
    """A file, column, row or label that cannot be used."""


class ModelError(DistillerError):
    """A model folder or architecture that cannot be used."""


class ShapeError(DistillerError, ValueError):
    """Tensors whose shapes do not fit together."""


class OutputError(DistillerError):
    """An output folder that is in the way, or does not hold what it should."""


class DamagedError(OutputError):
    """A file that has changed since it was written."""


class MissingPackageError(DistillerError):
    """An optional package that this step needs."""


@contextmanager
def importing(who: str, *, extra: str, otherwise: str = "") -> Iterator[None]:
    """Imports of optional packages: an absent one becomes an error that says `who` needs it, and which extra has it.

    `who` begins that sentence and contains its verb; `otherwise` names an alternative.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise MissingPackageError(
            f"{who} the package `{package}`", hint=f'pip install "distiller-nlp[{extra}]"{otherwise}'
        ) from None


class RunError(DistillerError):
    """A failure while running: the input was fine, but the run failed."""

    exit_code: ClassVar[int] = 1


class Notice(UserWarning):
    """One line that a user should know although the work goes on."""


def warn(message: str) -> None:
    """Issue `message` as a `Notice`, located at the line of the caller outside this package."""
    depth, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(concealed(message), Notice, stacklevel=depth)


_IN_URL = re.compile(r"(\w+:/{1,2}[^\s:/@?#]*):\S*@")
_IN_HOST = re.compile(r"(\bhost(?: ?name)? ['\"`]?)[^\s'\"`]*@")
"""How a driver names a host whose URL it cut at the first of several `@`: the rest of a password stands before it."""
_IN_QUERY = re.compile(r"([?&;](?:\w*password|passwd|pwd|secret|\w*token|\w*key)=)[^\s&;`'\"]*", re.IGNORECASE)


def concealed(text: str) -> str:
    """`text` with the passwords of its URLs hidden."""
    return _IN_QUERY.sub(r"\1…", _IN_HOST.sub(r"\1…@", _IN_URL.sub(r"\1:…@", text)))


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop; what is needed to resume is on disk. `signal` is its number."""

    def __init__(self, signal: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signal = signal
        self.message = message


def did_you_mean(name: str, known: list[str]) -> str:
    """A hint that names the closest known word, or all of them if none is close."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else "one of " + ", ".join(f"`{word}`" for word in known)
