"""The command line, called in this process as the installed command calls it."""

import signal
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest

from distiller.cli import main
from distiller.interruption import SIGNALS
from run.tiny import Workshop, workshop


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def distiller(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["distiller", *map(str, arguments)])
        for name in ("showwarning", "formatwarning"):  # `main` sets its own
            monkeypatch.setattr(warnings, name, getattr(warnings, name))
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        shown = capfd.readouterr()
        return Answer(int(ended.value.code or 0), shown.out, shown.err)

    return call
