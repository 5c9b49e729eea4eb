"""Forked processes that are watched and killed: they have everything imported already, so each is cheap."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


class Child:
    """`action` in a process of its own; `log` gets what it says."""

    def __init__(self, action: Callable[[], Any], log: Path) -> None:
        self.log = log
        self.pid = os.fork()
        if self.pid:
            return
        code = 99
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            action()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 300) -> int:
        """The exit code, or the negative number of the signal that ended it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        self.kill()
        os.waitpid(self.pid, 0)
        return pytest.fail(f"the process did not end: {self.said()}")

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def count_changes(root: Path, at: int | None = None) -> Callable[[], int]:
    """Count what this process does to files below `root` from now on; be killed before number `at`."""
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event == "open":
            _, mode, flags = arguments
            if not (flags & WRITES if isinstance(flags, int) else any(sign in str(mode) for sign in "wax+")):
                return
        elif event not in CHANGES:
            return
        if not str(arguments[0]).startswith(str(root)):
            return
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: done
