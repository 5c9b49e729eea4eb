"""Memory of this process, in bytes. Imports no torch: the process that measures a small engine must be small."""

import sys
from pathlib import Path


def peak() -> float:
    """The highest so far; NaN where the system does not tell.

    Linux reports this process's own memory; `getrusage` there includes the process that started it.
    """
    found = _of_linux("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # not a POSIX system
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else 1024 * most)


def present() -> float:
    """The present amount; where only the peak is known, that, which is nearly the same before a training."""
    found = _of_linux("VmRSS")
    return peak() if found is None else found


def free() -> float:
    """The memory that this machine has available."""
    import psutil

    return float(psutil.virtual_memory().available)


def _of_linux(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith(field)), None)
    return None if found is None else 1024 * float(found)
