"""The README tells the truth: its commands and code run, what it names exists, its file tree is the one on disk."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documentation import ROOT, Block, blocks, commands, links, run_block
from PIL import Image

from samvlm.cli import read_options
from samvlm.data.records import read_records
from training.recipe import load_recipe

TEXT = (ROOT / "README.md").read_text()


def files_of_the_project() -> set[str]:
    """Paths that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no git checkout: which files belong to the project is not known")
    return {path for path in listed.stdout.splitlines() if (ROOT / path).is_file()}


def tree_entries(text: str) -> dict[str, bool]:
    """Paths of the annotated tree, folders ending in a slash, and whether each has entries below it.

    A line is the names of one folder's entries, parted by commas, then two blanks or more and what they are.
    """
    entries: dict[str, bool] = {}
    parents: list[str] = []
    for line in text.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents = parents[:depth]
        folder = parents[-1] if parents else ""
        if folder:
            entries[folder] = True
        for name in names:
            entries[folder + name] = False
        parents.append(folder + names[-1])
    return entries


def tree_faults(entries: dict[str, bool], files: set[str]) -> list[str]:
    """What is in the tree and not on disk, and what lies in an opened folder and is not in the tree."""
    folders = {str(parent) + "/" for file in files for parent in Path(file).parents} - {"./"}
    present = files | folders
    faults = [f"{path} is in the tree, but does not exist" for path in entries if path not in present]
    opened = {path for path, has_children in entries.items() if has_children} | {""}
    for path in sorted(present):
        folder, _, name = path.rstrip("/").rpartition("/")
        shown = folder + "/" if folder else ""
        hidden = name == "__init__.py" or name.startswith(".")
        if shown in opened and not hidden and path not in entries:
            faults.append(f"{path} exists, but is not in the tree")
    return faults


BLOCKS = blocks(TEXT)


def test_file_tree_is_the_one_on_disk():
    (tree,) = [block for block in BLOCKS if block.language == "text" and "samvlm/" in block.code]
    faults = tree_faults(tree_entries(tree.code), files_of_the_project())
    assert not faults, "\n".join(faults)


def test_the_tree_check_finds_what_is_wrong():
    entries = tree_entries(
        "a/           the package\n  b.py, c.py  two files\n  d/          leaf\nREADME.md  text"
    )
    assert entries == {"a/": True, "a/b.py": False, "a/c.py": False, "a/d/": False, "README.md": False}
    right = {"a/__init__.py", "a/b.py", "a/c.py", "a/d/any.py", "README.md", ".gitignore"}
    assert tree_faults(entries, right) == []
    assert tree_faults(entries, right - {"a/c.py"}) == ["a/c.py is in the tree, but does not exist"]
    assert tree_faults(entries, right | {"a/new.py"}) == ["a/new.py exists, but is not in the tree"]
    assert tree_faults(entries, right | {"new.md"}) == ["new.md exists, but is not in the tree"]


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "bash"], ids=lambda block: f"line{block.line}"
)
def test_what_commands_name_exists(block: Block):
    makefile = (ROOT / "Makefile").read_text()
    for command in commands(block):
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), f"no target {words[1]}"
        for word in words:
            if re.match(r"(configs|scripts|training|samvlm)/", word):
                assert (ROOT / word).exists(), f"{command}: {word} does not exist"


OF_SAMVLM = [
    command
    for block in BLOCKS
    if block.language == "bash"
    for command in commands(block)
    if command.startswith("samvlm ")
]


@pytest.mark.parametrize("command", OF_SAMVLM)
def test_commands_recipes_and_overrides_are_valid(command: str):
    options = read_options(shlex.split(command, comments=True)[1:])
    if options.command == "train":
        file = ROOT / options.recipe
        assert load_recipe(file if file.is_file() else options.recipe, options.settings)


def test_the_record_shown_is_valid(tmp_path):
    (block,) = [block for block in BLOCKS if block.language == "json"]
    (tmp_path / "tables").mkdir()
    Image.new("RGB", (64, 64), "white").save(tmp_path / "tables" / "0001.png")
    (tmp_path / "records.jsonl").write_text(block.code.replace("…", "<tr><td>1</td></tr>"))
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record.task == "table"


@pytest.mark.parametrize(
    "target",
    links(TEXT),
)
def test_links_lead_somewhere(target: str):
    if not re.match(r"[a-z]+://", target):
        assert (ROOT / target).exists()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder that looks like the repository; what commands write stays in it."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in {"runs", "build", "dist"}:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.runs], ids=lambda block: f"line{block.line}")
def test_marked_blocks_run(block: Block, checkout: Path):
    run_block(block, checkout)


def test_newcomers_find_their_way():
    headings = re.findall(r"^#+ (.+)$", TEXT, re.M)
    assert headings[0] == "samvlm"
    assert [block for block in BLOCKS if block.language == "bash" and "make demo" in block.code]
    assert len([block for block in BLOCKS if block.runs]) >= 3
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.S)
    assert len(prose.split()) < 900, "a newcomer should read it in three minutes"
    assert not re.search(r"\bTODO\b|\bTBD\b|coming soon|lorem ipsum|placeholder", TEXT, re.I)
