"""A failing test is called skipped only where a package of an extra is absent and the failure asks for it."""

import pytest

import conftest
from conftest import missing_package


@pytest.mark.parametrize(
    ("failure", "package"),
    [
        ("error: studies need the package `optuna`", "optuna"),
        ("E   ModuleNotFoundError: No module named 'sentencepiece'", "sentencepiece"),
        ("E   ImportError: install it by `pip install pyarrow`", "pyarrow"),
        ("E   ModuleNotFoundError: No module named 'torch'", None),  # without which nothing works
        ("E   ModuleNotFoundError: No module named 'distiller.optuna'", None),
        ("E   AssertionError: optuna", None),
    ],
)
def test_what_a_failure_asks_for(failure: str, package: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "installed", lambda name: False)
    assert missing_package(failure) == package
    monkeypatch.setattr(conftest, "installed", lambda name: True)
    assert missing_package(failure) is None


def test_what_is_installed() -> None:
    assert conftest.installed("torch")
    assert conftest.installed("scikit-learn")  # by the name of its distribution
    assert not conftest.installed("no-such-package")
