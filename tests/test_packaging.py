"""The wheel as a user gets it: what is in it, and that it works with the core dependencies alone."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "samvlm" / "__init__.py").read_text())[1]
INFO = f"samvlm-{VERSION}.dist-info"


def pins(name: str) -> dict[str, str]:
    """Project name -> version of a file of `name==version` lines."""
    lines = (ROOT / name).read_text().splitlines()
    return {
        normalise(project): version
        for project, version in (x.split("==") for x in lines if not x.startswith("#"))
    }


def normalise(name: str) -> str:
    """PEP 503: `Rapid_Fuzz` and `rapid-fuzz` are one project."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(distribution: str) -> set[str]:
    """Names that a distribution needs here without extras, itself included, followed to the end."""
    found, queue = set(), [normalise(distribution)]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(need) for need in metadata.requires(name) or []]
        queue += [normalise(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, text=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def core_environment(wheel, tmp_path_factory) -> Path:
    """A folder that holds the wheel's content and links to the core dependencies, and nothing else that is installed."""
    folder = tmp_path_factory.mktemp("core")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in requirements("samvlm") - {"samvlm"}:
        distribution = metadata.distribution(name)
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
    return folder


def run_in(environment: Path, code: str, tmp_path: Path) -> subprocess.CompletedProcess:
    """Run code with the standard library and `environment` as the only places to import from."""
    start = f"import sys; sys.path.append({str(environment)!r})\n"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_wheel_holds_every_file_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    ignored = {".pyc"}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "samvlm").rglob("*")
        if path.is_file() and path.suffix not in ignored and "_recipes" not in path.parts
    }
    assert expected <= names, f"missing: {sorted(expected - names)}"
    assert "samvlm/py.typed" in names


def test_wheel_carries_the_recipes_and_no_other_top_level_module(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("training", "configs"):
        expected = {
            f"samvlm/_recipes/{path.relative_to(ROOT)}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and path.suffix in {".py", ".yaml", ".json"}
        }
        assert expected, f"{folder}/ is empty"
        assert expected <= set(names)
    assert {name.split("/")[0] for name in names} == {"samvlm", INFO}
    assert not [name for name in names if name.endswith(".pyc")]


def test_wheel_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{INFO}/METADATA").decode()
        assert "samvlm = samvlm.cli:main" in archive.read(f"{INFO}/entry_points.txt").decode()
        assert "Apache License" in archive.read(f"{INFO}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text


def test_every_module_imports_with_the_core_dependencies_alone(core_environment, tmp_path):
    code = """
import importlib, pkgutil, samvlm
names = [m.name for m in pkgutil.walk_packages(samvlm.__path__, "samvlm.") if not m.name.endswith("__main__") and "_recipes" not in m.name]
for name in names:
    importlib.import_module(name)
for extra in ("accelerate", "peft", "datasets", "deepspeed", "tensorboard", "matplotlib", "pytest"):
    assert importlib.util.find_spec(extra) is None, extra + " is there: this test shows nothing"
print(len(names), "modules from", samvlm.__file__)
"""
    result = run_in(core_environment, code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(core_environment) in result.stdout


@pytest.mark.slow
def test_the_wheel_parses_its_sample_with_the_core_dependencies_alone(core_environment, tmp_path):
    code = f"""
from samvlm.cli import main
sys.argv = ["samvlm", "parse", {str(core_environment / "samvlm/assets/sample_table.png")!r}, "-f", "html", "-o", "out"]
sys.exit(main())
"""
    result = run_in(core_environment, code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "<table" in (tmp_path / "out" / "sample_table.html").read_text()


def test_constraints_pin_every_dependency_inside_its_range():
    pinned = pins("constraints.txt")
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(entry for extra in extras for entry in extra)]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            continue
        version = pinned.get(normalise(requirement.name))
        assert version, f"constraints.txt has no version of {requirement.name}"
        assert requirement.specifier.contains(version), f"constraints.txt pins {version} against {text}"


def test_the_oldest_versions_are_the_lower_bounds():
    bounds = dict(re.match(r"([\w.-]+)>=([\d.]+)", entry).groups() for entry in PROJECT["dependencies"])
    del bounds["torch"]  # CI has one build of it
    oldest = {
        name: re.sub(r"(\.0)+$", "", version) for name, version in pins("constraints-oldest.txt").items()
    }
    assert oldest == {name: re.sub(r"(\.0)+$", "", version) for name, version in bounds.items()}


def test_installed_versions_are_those_of_the_constraints():
    if not os.environ.get("CI"):
        pytest.skip("a developer may try other versions")
    found = {name: metadata.version(name).split("+")[0] for name in requirements("samvlm") - {"samvlm"}}
    pinned = pins("constraints.txt")
    assert {name: pinned.get(name) for name in found} == found
