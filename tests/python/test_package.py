"""The package as it is installed: what it imports, exports and weighs; README and CI agree."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import zlib

import pytest

import command_line
import zeropoint

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = pathlib.Path(zeropoint.__file__).parent


def python(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_package_is_tested() -> None:
    if os.environ.get("PYTHONPATH"):
        pytest.skip("PYTHONPATH is set: it decides which package is tested")
    assert not PACKAGE.is_relative_to(REPOSITORY / "python"), "not the source tree"


def test_public_names() -> None:
    assert sorted(zeropoint.__all__) == zeropoint.__all__
    for name in zeropoint.__all__:
        assert getattr(zeropoint, name) is not None
    assert set(zeropoint.__all__) <= set(dir(zeropoint))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zeropoint.nothing  # noqa: B018


def test_lazy_names_are_the_typed_ones() -> None:
    """Type checkers read the imports under TYPE_CHECKING, the program reads _LAZY."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    typed = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed == zeropoint._LAZY


def test_public_functions_are_not_shadowed_by_modules() -> None:
    python(
        """
        import pkgutil, importlib, zeropoint
        for module in pkgutil.iter_modules(zeropoint.__path__):
            assert module.name not in zeropoint.__all__, module.name
        """
    )


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", zeropoint.__version__)
    info = zeropoint.build_info()
    assert info["version"] == zeropoint.__version__
    assert command_line.succeed("--version").strip() == f"zeropoint {zeropoint.__version__}"
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    assert f'\nversion = "{zeropoint.__version__}"\n' in pyproject
    json.dumps(info)  # plain data


@pytest.mark.parametrize("what", ["zeropoint", "zeropoint; zeropoint.Session"])
def test_import_time(what: str) -> None:
    """Beyond NumPy's own import, which takes about 100 ms; as a ratio, to hold on slow machines."""
    code = f"""
        import time
        start = time.perf_counter()
        import numpy
        middle = time.perf_counter()
        import {what}
        print((time.perf_counter() - middle) / (middle - start))
    """
    assert min(float(python(code)) for _ in range(5)) < (0.25 if what == "zeropoint" else 1.0)


def test_running_a_model_needs_numpy_only() -> None:
    loaded = python(
        """
        import sys
        before = set(sys.modules)  # what .pth files of the environment import
        import numpy as np, zeropoint as zp
        session = zp.Session(sys.argv[1])
        with np.load(sys.argv[2]) as file:
            session.run({"image": file["image"]})
        tops = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(*sorted(tops - set(sys.stdlib_module_names)))
        """,
        command_line.quantized(),
        command_line.samples(),
    ).split()
    assert {name for name in loaded if not name.startswith("_")} <= {"numpy", "zeropoint"}


def test_missing_extras_are_named() -> None:
    out = python(
        """
        import sys
        sys.modules["onnx"] = sys.modules["rich"] = None
        from zeropoint.cli import main
        from zeropoint import demo
        code = main(["inspect", str(demo.NETWORK)])
        print("code", code)
        print(main(["inspect", sys.argv[1]]))  # model files need no extra, tables no rich
        """,
        command_line.quantized(),
    )
    assert out.startswith("code 1\n")
    assert out.endswith("0\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['onnx'] = None\n"
            "from zeropoint.cli import main; sys.exit(main(['demo']))",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "zeropoint[tools]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_installed_size() -> None:
    """The wheel must stay under 2 MB; a wheel is a zip file, compressed with zlib."""
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and "_cache" not in str(p)]
    assert PACKAGE / "py.typed" in files
    size = sum(len(zlib.compress(p.read_bytes())) for p in files if p.suffix != ".pyc")
    assert size < 2_000_000


def test_readme_and_ci_agree() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    commands = re.findall(r"^```sh\n(.+?)\n```$", readme, re.MULTILINE | re.DOTALL)
    assert len(commands) == 2, "exactly two commands do all the set-up"
    demo, tests = commands
    assert demo.endswith("zeropoint demo")
    assert tests.endswith("pytest")
    assert f"'{tests}'" in (REPOSITORY / ".ci" / "run").read_text()
    head = "\n".join(readme.splitlines()[:15])
    for what in ("**What it is.**", "**What it is not.**", "**The contract.**"):
        assert what in head


def test_readme_links_and_commands() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (REPOSITORY / document).read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (REPOSITORY / target).exists(), f"{document} links to {target}"
    from zeropoint.commands import COMMANDS

    readme = (REPOSITORY / "README.md").read_text()
    for command in COMMANDS:
        assert f"`zeropoint {command.NAME}" in readme
