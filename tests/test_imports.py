"""What stages load, and on which systems: a package that takes a second to import is loaded by what needs it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "vadose"
SLOW = {"captum", "lightning_fabric", "matplotlib", "numba", "optuna", "sklearn", "skops", "sympy", "torch._dynamo"}
# Windows, or macOS, has not these: modules, and members of modules that both have.
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
MEMBERS = {
    "os": {"chown", "fork", "getuid", "kill", "killpg", "mkfifo", "nice", "posix_fallocate", "sched_getaffinity"},
    "signal": {"SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "pause", "setitimer"},
    "mmap": {"MADV_DONTNEED", "MAP_ANONYMOUS", "MAP_SHARED"},
    "time": {"clock_gettime", "tzset"},
}


@pytest.mark.parametrize("stage", ["forecast, vadose.predict.outlook", "maps, vadose.training.loop"])
def test_a_stage_loads_no_slow_package_before_it_needs_it(stage: str) -> None:
    code = f"import sys, vadose.predict.{stage}; print(*sorted({SLOW!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []


def of_one_system(code: str) -> Iterator[str]:
    """What a file imports, or takes from a module, that only some systems have, without asking for it first."""
    if not re.search("|".join(rf"\b{name}\b" for name in MODULES.union(*MEMBERS.values())), code):
        return  # most files need not be parsed
    tree = ast.parse(code)
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from MODULES.intersection([node.module] if isinstance(node, ast.ImportFrom) and node.module else names)
    asked = {
        (node.args[0].id, node.args[1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr")
        if isinstance(node.args[0], ast.Name) and isinstance(node.args[1], ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, member = node.value.id, node.attr
            if member in MEMBERS.get(module, ()) and (module, member) not in asked:
                yield f"{module}.{member}"


def test_every_file_imports_on_windows_and_macos() -> None:
    wrong = {path.name: list(of_one_system(path.read_text())) for path in PACKAGE.rglob("*.py")}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_what_only_some_systems_have_would_be_seen() -> None:
    assert list(of_one_system("import fcntl, os\nfrom pwd import getpwuid\nos.fork()")) == ["fcntl", "pwd", "os.fork"]
    assert list(of_one_system("if hasattr(os, 'nice'):\n    os.nice(5)\ndef f():\n    import resource")) == []
