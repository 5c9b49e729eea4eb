"""Ctrl-C and SIGTERM ask a training to stop after its step; a second one stops at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distiller.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def raise_interrupted(number: int, _: Any = None) -> None:
    """A signal handler that ends the current work."""
    raise Interrupted(number)


def end_at_once(number: int, _: Any = None) -> None:
    """A signal handler that ends the process without a word."""
    os._exit(128 + number)


class StopRequest:
    """Whether a stop was requested, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Within the block a stop signal is only recorded; the block checks for it and ends at a safe place.

        Raises `Interrupted` after a block that ran to its end anyway. Handlers installed by others stay.
        """
        replaced: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before in (signal.SIG_DFL, signal.default_int_handler, raise_interrupted):
                    replaced[number] = before
                    signal.signal(number, self._note(os.getpid()))
        try:
            yield
        finally:
            for number, before in replaced.items():
                signal.signal(number, before)
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _note(self, process: int) -> Callable[[int, Any], None]:
        def note(number: int, _: Any) -> None:
            if os.getpid() != process:  # a data loader's process, which its parent ends
                return
            if self.signal is not None:
                raise Interrupted(number)
            self.signal = number
            os.write(2, b"\nstopping after this step; once more stops at once\n")  # safe in a handler, unlike print

        return note
