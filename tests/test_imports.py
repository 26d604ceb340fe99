"""Who may import whom: the arrows of the README."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for package in ("trainable", "sweep", "analysis", "benchmarks")
    for path in (ROOT / package).glob("*.py")
)
READ_SURVEYS = {
    f"analysis/{name}.py"
    for name in (
        "data",
        "data_sections",
        "duplicates",
        "fingerprints",
        "leak",
        "leak_section",
        "matching",
        "mock_to_real",
        "pair_sections",
        "transfer",
        "truth",
    )
}
"""They look at images and train on them; the report of a sweep needs none of them."""
MAY_IMPORT_RAY = {"trainable/trial.py", "analysis/results.py"}
LOADS_TRIALS = "analysis/images.py"
"""It loads the images that a trial saw and the model that it trained."""


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in it."""
    names = set()
    package = path.parent.name
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def uses(path: Path, name: str) -> bool:
    return any(n == name or n.startswith(f"{name}.") for n in imported(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_arrows(path):
    package, module = path.parent.name, f"{path.parent.name}/{path.name}"
    if package == "trainable":
        assert not uses(path, "sweep")
        assert not uses(path, "analysis")
    if package != "benchmarks":
        assert not uses(path, "benchmarks")
    if package == "sweep":
        assert not uses(path, "analysis")
    if package == "analysis":
        assert not uses(path, "sweep")
        others = {n for n in imported(path) if n.startswith("trainable.")}
        if module not in {*READ_SURVEYS, LOADS_TRIALS}:
            assert all(n.startswith("trainable.protocol") for n in others)
            surveyors = {name.replace("/", ".").removesuffix(".py") for name in READ_SURVEYS}
            assert not imported(path) & surveyors
    if package != "sweep" and module not in MAY_IMPORT_RAY:
        assert not uses(path, "ray")


@pytest.mark.parametrize("module", ["protocol", "early_stopping"])
def test_rules_need_the_standard_library_alone(module):
    import sys

    names = imported(ROOT / "trainable" / f"{module}.py")
    own = {"trainable", *sys.stdlib_module_names}
    assert {n.split(".")[0] for n in names} <= own


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_modules_are_under_250_lines(path):
    assert path.read_text().count("\n") < 250


def test_the_guard_sees_imports():
    assert uses(ROOT / "trainable/trial.py", "ray")
    assert uses(ROOT / "sweep/launch.py", "trainable.settings")
