"""Check that the built sdist and wheel hold what they should: `make dist`.

    python .ci/check_dist.py dist

An sdist holds all files that git tracks, apart from those that only serve the work on
the repository: their names, or those of their folders, begin with a dot. A wheel holds
the package, the licence and metadata that agree with pyproject.toml. Files that git
does not track may be there, so that one can try what is not committed yet, but none
that git ignores.
"""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The build writes these into every sdist.
WRITTEN = re.compile(r"PKG-INFO|setup\.cfg|skmeta\.egg-info/.*")


def listed(*options):
    """Files that `git ls-files` lists and that are there."""
    listing = ["git", "ls-files", "-z", *options]
    answer = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    names = answer.stdout.decode().split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def differences(what, found, expected, allowed):
    for name in sorted(expected - found):
        yield f"{what} lacks {name}. Does MANIFEST.in name it?"
    for name in sorted(found - expected - allowed):
        yield f"{what} holds {name}, which does not belong there."


def faults_of_sdist(path, tracked, new):
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    found = {name.partition("/")[2] for name in names}
    expected = {
        name
        for name in tracked
        if not any(part.startswith(".") for part in name.split("/"))
    }
    written = {name for name in found if WRITTEN.fullmatch(name)}
    yield from differences("The sdist", found, expected, new | written)


def faults_of_wheel(path, tracked, new):
    with zipfile.ZipFile(path) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name for name in tracked if name.startswith("skmeta/")}
    allowed = {name for name in new if name.startswith("skmeta/")}
    yield from differences("The wheel", found, expected, allowed)


def faults_of_metadata(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wheel,) = distributions(path=[str(path)])
    says = wheel.metadata
    for field, expected in [
        ("Name", [project["name"]]),
        ("License-Expression", [project["license"]]),
        ("License-File", project["license-files"]),
        ("Requires-Python", [project["requires-python"]]),
        ("Classifier", project["classifiers"]),
        ("Provides-Extra", list(project["optional-dependencies"])),
    ]:
        if sorted(says.get_all(field, [])) != sorted(expected):
            yield f"The wheel's {field} is {says.get_all(field)}, not {expected}."
    needs = [line for line in wheel.requires if "extra ==" not in line]
    if sorted(needs) != sorted(project["dependencies"]):
        yield f"The wheel needs {needs}, not {project['dependencies']}."
    for name in project["license-files"]:
        if wheel.read_text(f"licenses/{name}") != (ROOT / name).read_text():
            yield f"The wheel does not hold {name} as it is in the repository."


def main(folder):
    (sdist,) = Path(folder).glob("skmeta-*.tar.gz")
    (wheel,) = Path(folder).glob("skmeta-*.whl")
    faults = list(faults_of_metadata(wheel))
    try:
        tracked, new = listed("--cached"), listed("--others", "--exclude-standard")
    except (OSError, subprocess.CalledProcessError):
        print("Git cannot list the files here, so only the metadata are checked.")
    else:
        faults += faults_of_sdist(sdist, tracked, new)
        faults += faults_of_wheel(wheel, tracked, new)
    if faults:
        sys.exit("\n".join(faults))
    print("Sdist and wheel hold what they should.")


if __name__ == "__main__":
    main(*sys.argv[1:])
