"""Imports point one way: each module imports only from layers above it in the list below.

Imports inside functions count; imports under `if TYPE_CHECKING:` do not, since nothing runs them.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fusejit"

# From the bottom up; what stands on one line does not import each other. A name covers the modules
# inside it, unless a longer name covers them; "" is fusejit/__init__.py.
LAYERS = (
    ("frozen",),
    ("errors", "scalar", "dispatch", "operators", "origin", "collector", "ir.affine", "opdoc"),
    ("config",),
    ("dtypes", "device"),
    ("op",),
    ("tensor", "nonfinite"),
    ("eager",),
    ("variable",),
    ("numerics",),
    ("ops",),
    ("autodiff",),
    ("ir",),
    ("passes",),
    ("backends",),
    ("backends.llvm", "backends.cuda"),
    ("capture",),
    ("random",),
    ("nn", "linalg", "fft", "files"),
    ("weights",),
    ("layers",),
    ("data",),
    ("train", "export", "inspect", "portable"),
    ("",),
    ("optable", "demo", "examples", "testing"),
    ("__main__",),
)
LAYER_OF = {name: depth for depth, names in enumerate(LAYERS) for name in names}

# Heavy or optional packages, each behind one door.
DOORS = {"llvmlite": "backends.llvm", "pycuda": "backends.cuda.driver"}


def module_name(path: Path) -> str:
    """'ops.shape' of fusejit/ops/shape.py; '' of fusejit/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def covers(name: str, module: str) -> bool:
    return name == module or (name != "" and module.startswith(name + "."))


def layer(module: str) -> str:
    """The longest name in LAYERS that covers `module`."""
    found = [name for name in LAYER_OF if covers(name, module)]
    assert found, f"fusejit.{module} is in no layer: add it to LAYERS"
    return max(found, key=len)


def nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from nodes_that_run(child)


def imported(module: str) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of everything that `module` imports."""
    path = MODULES[module]
    package = f"fusejit.{module}".rstrip(".")
    if path.name != "__init__.py":
        package = package.rpartition(".")[0]
    for node in nodes_that_run(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, package) if node.level else relative
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner.removeprefix("fusejit.") in MODULES else base


def violations(module: str) -> Iterator[str]:
    here = layer(module)
    for line, name in imported(module):
        if name.partition(".")[0] != "fusejit":
            continue
        there = layer(name.removeprefix("fusejit").removeprefix("."))
        if there != here and LAYER_OF[there] >= LAYER_OF[here]:
            yield f"{MODULES[module]}:{line}: {here or 'fusejit'} imports {name}"


def test_each_layer_imports_only_those_before_it() -> None:
    found = [line for module in MODULES for line in violations(module)]
    assert not found, "\n".join(found)


def test_llvmlite_and_pycuda_stay_behind_their_doors() -> None:
    found = [
        f"{MODULES[module]}:{line}: {name}"
        for module in MODULES
        for line, name in imported(module)
        for package, door in DOORS.items()
        if name.partition(".")[0] == package and not covers(door, module)
    ]
    assert not found, "\n".join(found)


def test_only_device_imports_by_name() -> None:
    by_name = [
        module
        for module, path in MODULES.items()
        if any(
            isinstance(node, (ast.Name, ast.Attribute))
            and ast.unparse(node).rpartition(".")[2] in ("import_module", "__import__")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert by_name == ["device"]


@pytest.mark.parametrize("package", DOORS)
def test_importing_fusejit_does_not_import(package: str) -> None:
    program = f"import sys, fusejit; sys.exit({package!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], check=False)
    assert done.returncode == 0


def test_importing_fusejit_prints_nothing() -> None:
    program = [sys.executable, "-W", "error", "-c", "import fusejit"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
