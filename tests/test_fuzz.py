"""A slice of the fuzz in `benchmarks/fuzz.py`, which counts what must never happen."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    specification = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        # so that it finds the modules that it imports
        patch.syspath_prepend(SCRIPT.parent)
        # Its dataclasses look up their annotations there.
        patch.setitem(sys.modules, "fuzz", module)
        specification.loader.exec_module(module)
        yield module


# Three of the first 15 cases take as long as all others.
SLOW = {3, 7}


@pytest.mark.parametrize("case", sorted({*range(15)} - SLOW))
def test_what_must_never_happen_does_not_happen(fuzz, case):
    counts = fuzz.run(case, seed=1)
    assert {name: counts[name] for name in fuzz.MUST_BE_ZERO if counts[name]} == {}
