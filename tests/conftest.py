"""Fixtures that several test files share, and tests that need a package of an extra: skipped where it is not there."""

import re
import tomllib
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # the machines that run these tests do other things too
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the repository; without it the test is skipped, visibly."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared folder with real data and weights beside the repository")
    return SHARED


def _extras() -> set[str]:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = [line for lines in project["optional-dependencies"].values() for line in lines]
    return {re.split(r"[\s<>=!~;\[]", line)[0].lower() for line in asked}


OPTIONAL = _extras() | {"pandas", "pyarrow"}  # these two come with others of them
MISSING = re.compile(r"the package `([\w-]+)`|No module named '([\w-]+)'|ImportError: .*`pip install ([\w-]+)")


def installed(name: str) -> bool:
    """Whether there is a module or a distribution of this name."""
    if find_spec(name.replace("-", "_")) is not None:
        return True
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def missing_package(failure: str) -> str | None:
    """The package of an extra that is not installed and that `failure`, a report of a test, asks for."""
    for names in MISSING.findall(failure):
        name = "".join(names)
        if name.lower() in OPTIONAL and not installed(name):
            return name
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that ends because a package of an extra is absent is skipped, and says which; with all there it fails."""
    report = yield
    if report.failed and (package := missing_package(str(report.longrepr))):
        path, line, _ = item.location
        report.outcome = "skipped"
        reason: Any = (path, line or 0, f"Skipped: the package `{package}` of an extra is not installed")
        report.longrepr = reason
    return report
