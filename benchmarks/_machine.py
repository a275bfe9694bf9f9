"""On what a measurement was made."""

import platform
from importlib.metadata import version


def processor():
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line for line in file if line.startswith("model name")]
        return names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor()


def versions_of(*packages):
    """The versions of Python and of installed packages, by name."""
    versions = {name: version(name) for name in packages}
    return {"python": platform.python_version(), **versions}
