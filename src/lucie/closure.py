"""Which of our modules some code uses, found in its source: its imports, and theirs in turn.

A module whose name is a word of the source counts, too: it is started as a process (`python -m lucie.training.worker`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lucie.files import sha256, sha256_of

PACKAGE = "lucie"
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+")


def modules_of(source: str, package: Path) -> dict[str, Path]:
    """The modules of ``package`` (its source folder) that ``source`` uses, directly or through others."""
    found: dict[str, Path] = {}
    todo = list(_imports(ast.parse(source), package))
    while todo:
        name = todo.pop()
        path = _file(name, package)
        if name in found or path is None:
            continue
        found[name] = path
        todo += _imports_of_file(path, path.stat().st_mtime_ns, package)
        todo.append(name.rpartition(".")[0] or PACKAGE)  # a module runs its packages' __init__ first
    return dict(sorted(found.items()))


def code_of(module: str) -> str:
    """The hash of a module of ours and all that it uses."""
    modules = modules_of(f"import {module}", Path(__file__).resolve().parent)
    return sha256_of({name: sha256(path) for name, path in modules.items()})


@cache
def _imports_of_file(path: Path, mtime_ns: int, package: Path) -> list[str]:
    return list(_imports(ast.parse(path.read_text(encoding="utf-8")), package))


def _imports(tree: ast.AST, package: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.module
            yield from (
                f"{node.module}.{name.name}"
                for name in node.names
                if _file(f"{node.module}.{name.name}", package) is not None
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value


def _file(module: str, package: Path) -> Path | None:
    base = package.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py") if base != package else base / "__init__.py", base / "__init__.py"):
        if path.is_file():
            return path
    return None
