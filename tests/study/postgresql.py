"""A throw-away PostgreSQL server on a socket of its own: nothing of it listens on the network."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

OWNER = "postgres"
"""Runs the server where the tests run as root, whom it refuses."""


@dataclass(frozen=True)
class Server:
    """A running server, by the folder of its socket."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://{OWNER}@/{database}?host={self.folder}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextmanager
def served() -> Iterator[Server]:
    """Make, start and remove a server. Skips the test where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="the package `psycopg` (extra `postgresql`) is not installed")
    control = _program("pg_ctl")
    if control is None:
        pytest.skip("no PostgreSQL server is installed (Debian's `postgresql`)")
    root = os.geteuid() == 0
    if root and OWNER not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user `{OWNER}`")
    # A path of a socket may have about 100 characters, and root's temporary folders of pytest are closed to others.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if root:
            shutil.chown(folder, OWNER)
        user = OWNER if root else None
        data = ["-D", str(folder / "data"), "-s"]
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"

        def call(*arguments: str) -> None:
            subprocess.run([control, *arguments], user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

        call("initdb", *data, "-o", f"-U {OWNER} -A trust --locale=C -E UTF8 --no-sync")
        call("start", *data, "-w", "-l", str(folder / "log"), "-o", options)
        try:
            yield Server(folder)
        finally:
            call("stop", *data, "-m", "immediate")


def _program(name: str) -> str | None:
    """The newest; Debian keeps servers outside the search path."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(kept[-1]) if kept else None)
