"""Docstrings name every parameter, in numpydoc's format."""

import inspect
from pathlib import Path

import pytest

import skmeta
import skmeta.adaptation
import skmeta.base
import skmeta.datasets
import skmeta.exceptions
import skmeta.model_selection

validate = pytest.importorskip("numpydoc.validate")
hooks = pytest.importorskip("numpydoc.hooks.validate_docstrings")

CONFIG = Path(__file__).parents[1]  # the folder of pyproject.toml
MODULES = [
    skmeta,
    skmeta.adaptation,
    skmeta.base,
    skmeta.datasets,
    skmeta.exceptions,
    skmeta.model_selection,
]


def members(cls):
    """Public methods and properties that our classes define."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] != "skmeta":
            continue
        for name, member in vars(base).items():
            documented = inspect.isfunction(member) or hasattr(member, "__get__")
            requested = name.startswith("set_") and name.endswith("_request")
            if documented and not name.startswith("_") and not requested:
                yield name


def public_names():
    """Full name of everything public, each object once."""
    names = {}
    for module in MODULES:
        for name in module.__all__:
            member = vars(module)[name]
            path = names.setdefault(member, f"{module.__name__}.{name}")
            if inspect.isclass(member):
                for method in members(member):
                    names.setdefault((member, method), f"{path}.{method}")
    return sorted(names.values())


@pytest.mark.parametrize("name", public_names())
def test_the_docstring_is_complete(name):
    checks = hooks.parse_config(CONFIG)["checks"]
    errors = validate.validate(name)["errors"]
    assert [error for error in errors if error[0] in checks] == []
