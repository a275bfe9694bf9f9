"""The hosted workflow and CONTRIBUTING.md name the steps of `.ci/run`."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN = ROOT / ".ci" / "run"
HOSTED = ROOT / ".github"

if not (RUN.exists() and HOSTED.exists()):
    pytest.skip("an sdist holds neither .ci nor .github", allow_module_level=True)


def steps():
    listed = re.search(r"^steps=\((.*?)^\)", RUN.read_text(), re.DOTALL | re.MULTILINE)
    return set(re.split(r"[\s+]+", listed.group(1).strip()))


def load(path):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text())


@pytest.fixture
def workflow():
    return load(HOSTED / "workflows" / "ci.yml")


def test_each_step_is_a_target_of_the_makefile():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    assert "test-wheel" in steps() <= targets


def test_contributors_read_of_each_step():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `make ([a-z-]+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(steps())


def test_each_step_runs_on_hosted_machines(workflow):
    lines = [
        step["run"]
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert sorted(lines) == sorted(f"make {step}" for step in steps())


def test_tests_run_on_each_python_that_the_package_names(workflow):
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "classifiers"
    ]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == named


def test_hosted_jobs_may_only_read_and_must_end(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 30
        for step in job["steps"]:
            assert re.fullmatch(
                r"actions/[a-z-]+@v\d+", step.get("uses", "actions/a@v1")
            )


@pytest.mark.parametrize("form", sorted(HOSTED.glob("ISSUE_TEMPLATE/*.yml")))
def test_a_form_asks_something(form):
    asked = load(form)
    assert asked["name"] and asked["description"]
    assert any(field["type"] == "textarea" for field in asked["body"])
