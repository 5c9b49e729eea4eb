"""Fixtures that several test files share."""

from pathlib import Path

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
