"""A folder of things that runs share: fine-tuned teachers, baselines, teacher outputs.

Each thing is found by the facts that decide its content. It is built in a temporary folder and renamed when it is
whole, so an interrupted build is never taken for a finished one; a lock keeps two processes from building it twice.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from distiller.errors import OutputError

FACTS = "facts.json"


def default_store() -> Path:
    """`$DISTILLER_CACHE`, or `~/.cache/distiller`."""
    return Path(os.environ.get("DISTILLER_CACHE") or Path.home() / ".cache" / "distiller")


def fingerprint(facts: Any) -> str:
    """A short, stable name for JSON data: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Store:
    """Folders by kind and facts below `root`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_store()

    def path(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Where the thing with these facts is, or would be."""
        return self.root / kind / fingerprint(facts)

    def find(self, kind: str, facts: Mapping[str, Any]) -> Path | None:
        """The finished folder with exactly these facts, if there is one."""
        path = self.path(kind, facts)
        try:
            stored = json.loads((path / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return path if stored == json.loads(json.dumps(facts, default=str)) else None

    def get(self, kind: str, facts: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The folder with these facts; `make` fills a fresh one if there is none yet."""
        if found := self.find(kind, facts):
            return found
        path = self.path(kind, facts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write the cache folder `{self.root}`: {error.strerror}",
                hint="set `cache` in the run, or DISTILLER_CACHE, to a folder you may write",
            ) from None
        with FileLock(path.with_suffix(".lock")):
            if found := self.find(kind, facts):  # another process built it while this one waited
                return found
            with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent, ignore_cleanup_errors=True) as temp:
                folder = Path(temp) / "it"
                folder.mkdir()
                make(folder)
                (folder / FACTS).write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
                shutil.rmtree(path, ignore_errors=True)
                folder.rename(path)
        return path
