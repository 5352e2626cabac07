"""The project's own files agree with one another, and importing boneviz stays light."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import boneviz

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "python-gdcm": "gdcm", "isal": "python-isal"}


def name_and_range(requirement: str) -> tuple[str, str]:
    """Split ``name[extra]>=1,<2`` into its name, as registries compare it, and its range."""
    found = re.fullmatch(r"\s*([\w.-]+)(\[[^]]*\])?\s*([^;]*?)\s*(;.*)?", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[1]).lower(), found[3].replace(" ", "")


RUNTIME = dict(name_and_range(requirement) for requirement in PROJECT["dependencies"])


def test_the_conda_environment_is_in_step_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = dict(
        name_and_range(each)
        for each in environment["dependencies"]
        if each != "pip" and isinstance(each, str)
    )
    expected = {CONDA_NAMES.get(name, name): there for name, there in RUNTIME.items()}
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda == expected
    assert environment["channels"] == ["conda-forge"]


def test_the_issues_runtime_dependencies_are_there() -> None:
    needed = {
        "torch",
        "monai",
        "jupyterlab",
        "ipywidgets",
        "anywidget",
        "nibabel",
        "plotly",
        "pandas",
    }
    assert needed <= set(RUNTIME)
    assert {"itkwidgets", "dicom", "dask", "test", "bench"} <= set(PROJECT["optional-dependencies"])


def test_every_runtime_dependency_is_pinned_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(
        name_and_range(line) for line in (line.partition("#")[0] for line in lines) if line.strip()
    )
    assert all(re.fullmatch(r"==[\w.!+-]+", there) for there in pins.values()), pins
    assert pins["torch"] == "==2.13.0"
    assert set(RUNTIME) <= set(pins)
    for name, there in RUNTIME.items():
        # what was tested is allowed: 2.13.0 by >=2.6, compared number by number
        lowest = re.match(r">=([\d.]+)", there)
        assert lowest is not None, (name, there)
        tested = [int(n) for n in re.findall(r"\d+", pins[name])]
        assert tested >= [int(n) for n in lowest[1].split(".")], name


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(boneviz.__path__, "boneviz.")
    if not module.name.endswith("__main__")
)


def test_all_modules_are_looked_at() -> None:
    assert {"boneviz.volume", "boneviz.show.state", "boneviz.cli"} <= set(MODULES)


@pytest.mark.parametrize("name", ["boneviz", *MODULES])
def test_every_module_says_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "the first line says what the module does"
    # written out, not inherited or computed
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    written = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "__all__"
    ]
    assert len(written) == 1, f"{name} has no __all__"
    (offered,) = written
    assert len(set(offered)) == len(offered)
    lacking = [each for each in offered if not hasattr(module, each)]
    assert not lacking, f"{name} offers {lacking} and does not have them"


def test_the_front_door_offers_what_a_reader_of_the_readme_needs() -> None:
    assert {"Cohort", "Case", "Reader", "explore", "BonevizError"} <= set(boneviz.__all__)


HEAVY = ("torch", "monai", "ipywidgets", "anywidget", "IPython", "plotly", "matplotlib")


@pytest.mark.parametrize(
    ("imports", "allowed"),
    [
        ("boneviz", ()),
        # saved predictions are read, scored and drawn without torch and without widgets
        ("boneviz.nifti, boneviz.harmonise, boneviz.score, boneviz.picture", ()),
        ("boneviz.compare, boneviz.inflation, boneviz.show.state", ()),
        ("boneviz.operating, boneviz.learnerfile", ()),
        ("boneviz.report", ("plotly",)),
        ("boneviz.show.explorer", ("ipywidgets", "anywidget", "IPython", "plotly")),
    ],
)
def test_importing_stays_light(imports: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {imports}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(ast.literal_eval(done.stdout.strip().splitlines()[-1]))
    assert loaded <= set(allowed)


def test_the_version_is_told_everywhere() -> None:
    version = re.escape(boneviz.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{version}\]", changes, re.MULTILINE), "CHANGELOG.md"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == boneviz.__version__
    assert "2605.16373" in json.dumps(citation["references"])
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


ADDRESS = re.compile(r"https?://[^\s\"'`)>]*")
# names of vocabularies, which nothing ever loads
NAMESPACES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml")

FRONT = sorted(
    path
    for path in (ROOT / "boneviz" / "show").rglob("*")
    if path.suffix in (".js", ".mjs", ".css", ".html", ".svg")
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_front_end_and_the_notebooks_are_looked_at() -> None:
    assert any(path.suffix == ".js" for path in FRONT)
    assert {path.stem[:2] for path in NOTEBOOKS} >= {"01", "02", "03", "04", "05"}


@pytest.mark.parametrize("path", FRONT, ids=lambda path: path.name)
def test_the_front_end_names_no_address(path: Path) -> None:
    found = [a for a in ADDRESS.findall(path.read_text(encoding="utf-8")) if a not in NAMESPACES]
    assert found == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_import_define_nothing_and_load_nothing_from_elsewhere(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        source = "".join(cell["source"])
        assert ADDRESS.findall(source) == []
        assert not re.search(r"^\s*(def|class) ", source, re.MULTILINE), "notebooks define nothing"
        assert cell["outputs"] == [], "notebooks are kept without outputs"
        assert cell["execution_count"] is None


def test_no_tests_folder_is_imported_by_the_library() -> None:
    for path in (ROOT / "boneviz").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (tests|small|cases)\b", path.read_text(), re.M)
