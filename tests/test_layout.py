"""The house rules as tests: who may import whom, file length and names, docstrings and types of the public API."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 330

# A part of samvlm may import parts of a lower rank and of its own; equal rank only from rank 2 on (and never in a
# circle). `model` and `data` stand alone; `metrics` knows `data` only.
RANK = {
    "model": 0,
    "data": 0,
    "metrics": 1,
    "generation": 2,
    "grammar": 2,
    "segmentation": 2,
    "features": 2,
    "adapters": 2,
    "cards": 2,
    "merging": 2,
    "evaluation": 3,
    "serving": 4,
    "web": 4,
    "launch": 4,
    "cli": 4,
    "vllm_plugin": 4,
}
STANDS_ALONE = {"model": {"model"}, "data": {"data"}, "metrics": {"metrics", "data"}}
TRAINING_MAY = {
    "model",
    "data",
    "features",
    "evaluation",
    "metrics",
    "grammar",
    "generation",
    "adapters",
    "cards",
}
MODEL_MAY = {
    "torch",
    "transformers",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
    "numpy",
    "PIL",
    "triton",
}
NEVER_IN_SAMVLM = {"training", "scripts", "configs", "tests"}
MODULE_OF = {"pillow": "PIL", "pyyaml": "yaml", "segment-anything": "segment_anything"}
# Modules that a core dependency always brings along.
BROUGHT_ALONG = {"huggingface_hub", "safetensors", "tokenizers", "packaging", "yaml", "filelock"}


def python_files(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if "_recipes" not in path.parts]


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, absolute dotted name, needed at import) of every import; `from a import b` yields `a.b`."""
    tree = ast.parse(source)
    optional = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        and any(
            isinstance(handler.type, ast.Name) and handler.type.id == "ImportError"
            for handler in block.handlers
        )
        for statement in block.body
        for node in ast.walk(statement)
    }
    inside = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
        or (
            isinstance(block, ast.If)
            and isinstance(block.test, ast.Name)
            and block.test.id == "TYPE_CHECKING"
        )
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) not in inside | optional
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                base = base[: len(base) - node.level + is_package]
                prefix = ".".join(base + ([node.module] if node.module else []))
            else:
                prefix = node.module or ""
            for alias in node.names:
                yield node.lineno, f"{prefix}.{alias.name}", id(node) not in inside | optional


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parts_imported(source: str, module: str, is_package: bool = False) -> set[str]:
    """Parts of samvlm ("data", "cli", "" for the package root) that a module imports."""
    found = set()
    for _, name, _ in imports(source, module, is_package):
        head, *rest = name.split(".")
        if head == "samvlm":
            found.add(rest[0] if rest and rest[0] in RANK else "")
    return found


def faults_in_samvlm(source: str, module: str, is_package: bool = False) -> list[str]:
    """What a module inside samvlm imports against the rule."""
    part = module.split(".")[1]
    faults = []
    for line, name, _ in imports(source, module, is_package):
        head, *rest = name.split(".")
        if head in NEVER_IN_SAMVLM:
            faults.append(f"{module}:{line} imports {head}, which is outside the package")
        elif head == "samvlm":
            target = rest[0] if rest and rest[0] in RANK else ""
            allowed = STANDS_ALONE.get(part, {other for other in RANK if RANK[other] <= RANK[part]})
            if target == "" and part != "vllm_plugin":
                faults.append(f"{module}:{line} imports the package root ({name})")
            elif target and target not in allowed:
                faults.append(f"{module}:{line} imports {name}: {part} may import {sorted(allowed)}")
        elif part == "model" and head not in MODEL_MAY and head not in sys.stdlib_module_names:
            faults.append(f"{module}:{line} imports {head}: model may import {sorted(MODEL_MAY)}")
        elif part == "data" and head in {"torch", "transformers"}:
            faults.append(f"{module}:{line} imports {head}: data knows no torch")
    if part == "model":
        absolute = [
            f"{module}:{node.lineno} must use a relative import"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").startswith("samvlm")
        ]
        faults += absolute
    return faults


SAMVLM = [path for path in python_files("samvlm") if path != ROOT / "samvlm" / "__init__.py"]
OWN_CODE = python_files("samvlm", "training", "scripts")
relative = {"ids": lambda path: str(path.relative_to(ROOT)) if isinstance(path, Path) else None}


@pytest.mark.parametrize("path", SAMVLM, **relative)
def test_import_direction_in_samvlm(path: Path):
    assert module_name(path).split(".")[1] in RANK, (
        f"give {path.name} a rank in {Path(__file__).name} and in DESIGN"
    )
    faults = faults_in_samvlm(path.read_text(), module_name(path), path.name == "__init__.py")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("samvlm.data.tables", "import torch"),
        ("samvlm.data.tables", "def f():\n    from transformers import AutoModel"),
        ("samvlm.data.tables", "from ..model import connector"),
        ("samvlm.model.connector", "from samvlm.model.attention import attend"),
        ("samvlm.model.connector", "import rapidfuzz"),
        ("samvlm.metrics.teds", "from ..generation import DocumentParser"),
        ("samvlm.metrics.teds", "from samvlm.model.connector import Connector"),
        ("samvlm.grammar", "from .cli import main"),
        ("samvlm.cli", "from . import __version__"),
        ("samvlm.cli", "import samvlm"),
        ("samvlm.launch", "from training.train import main"),
    ],
)
def test_the_import_rule_catches(module: str, source: str):
    assert faults_in_samvlm(source, module)


def test_the_import_rule_allows():
    assert not faults_in_samvlm("from . import launch\nfrom .generation import DocumentParser", "samvlm.cli")
    assert not faults_in_samvlm("import torch\nfrom .attention import attend", "samvlm.model.connector")
    assert not faults_in_samvlm("from ..data.tables import Table", "samvlm.metrics.teds")
    assert not faults_in_samvlm("from .tables import Table", "samvlm.data", is_package=True)


def test_parts_import_in_no_circle():
    graph: dict[str, set[str]] = {}
    for path in SAMVLM:
        module = module_name(path)
        found = parts_imported(path.read_text(), module, path.name == "__init__.py")
        graph.setdefault(module.split(".")[1], set()).update(found - {module.split(".")[1], ""})
    while ready := [part for part, needs in graph.items() if not needs & graph.keys()]:
        for part in ready:
            del graph[part]
    assert not graph, f"parts of samvlm import each other in a circle: {graph}"


@pytest.mark.parametrize("path", python_files("training", "scripts"), **relative)
def test_what_training_and_scripts_import(path: Path):
    source, module = path.read_text(), module_name(path)
    heads = {name.split(".")[0] for _, name, _ in imports(source, module, path.name == "__init__.py")}
    own = {module.split(".")[0]}
    if path.name.startswith("bench_"):  # what is timed may be training
        own.add("training")
    assert not heads & (NEVER_IN_SAMVLM - own)
    if module.startswith("training"):
        assert parts_imported(source, module) - {""} <= TRAINING_MAY


def test_module_level_imports_are_core_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=!~; \[]", entry)[0] for entry in project["dependencies"]]
    core = (
        {MODULE_OF.get(name, name) for name in names}
        | BROUGHT_ALONG
        | {"samvlm"}
        | set(sys.stdlib_module_names)
    )
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {name}, which a plain `pip install samvlm` does not bring"
        for path in python_files("samvlm")
        for line, name, top in imports(path.read_text(), module_name(path), path.name == "__init__.py")
        if top and name.split(".")[0] not in core
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", python_files("samvlm", "training", "scripts", "tests"), **relative)
def test_length_name_and_header(path: Path):
    source = path.read_text()
    assert source.count("\n") <= MAX_LINES, "one subject a file: split it"
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}, "name the subject"
    if source.strip():
        first = next(line for line in source.splitlines() if not line.startswith("#!"))
        assert first.startswith("#") or ast.get_docstring(ast.parse(source)), (
            "say in a line or two what the file is"
        )


@pytest.mark.parametrize("path", OWN_CODE, **relative)
def test_nothing_is_left_unfinished(path: Path):
    marks = re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b|raise NotImplementedError\b", path.read_text())
    assert not marks


def public_definitions(source: str) -> Iterator[tuple[str, ast.AST]]:
    """Module-level public functions and classes, and the public methods written in those classes."""
    for node in ast.parse(source).body:
        if not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method


def untyped(function: ast.FunctionDef) -> list[str]:
    """Names of the parameters without annotation, and "return" where the result has none."""
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    missing = [p.arg for p in parameters if p.annotation is None and p.arg not in {"self", "cls"}]
    return missing + (["return"] if function.returns is None else [])


@pytest.mark.parametrize("path", python_files("samvlm"), **relative)
def test_public_api_is_documented_and_typed(path: Path):
    faults = []
    for name, node in public_definitions(path.read_text()):
        if "." not in name and not ast.get_docstring(node):
            faults.append(f"{name} has no docstring")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (missing := untyped(node)):
            faults.append(f"{name} has no type for {', '.join(missing)}")
    assert not faults, "\n".join(faults)
