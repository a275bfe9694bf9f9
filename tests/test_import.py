"""What `import skmeta` loads, and what it leaves for later."""

import subprocess
import sys

import pytest

LATER = """
import sklearn.base, sys
before = set(sys.modules)
import skmeta
print(*sorted(set(sys.modules) - before))
"""


@pytest.fixture(scope="module")
def loaded():
    """Modules that skmeta loads after scikit-learn's base."""
    answer = subprocess.run(
        [sys.executable, "-c", LATER], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "matplotlib",
        "scipy.linalg.blas",
        "sklearn.compose",
        "sklearn.linear_model",
        "sklearn.metrics",
        "sklearn.model_selection",
        "sklearn.pipeline",
    ],
)
def test_slow_modules_are_imported_only_when_used(module, loaded):
    assert "skmeta.reptile" in loaded
    assert module not in loaded


def test_public_modules_are_there_without_an_import_of_their_own():
    names = ["base", "datasets", "inspection", "metrics", "model_selection"]
    script = f"import skmeta; print(*(getattr(skmeta, n).__name__ for n in {names}))"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [f"skmeta.{name}" for name in names]
