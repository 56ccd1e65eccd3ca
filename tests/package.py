"""
Build the package, and use it where nothing of the checkout is: ``python -m tests.package``, as ``make package`` does.

The wheel is what runs: no tests, examples or pages of the documentation are in it. The source distribution has all that
the project keeps, so that others can test and build from it. Both stay in ``dist/``; the environment is removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "airflow_imagepipeline"
UV: Final = str(Path(sys.executable).with_name("uv"))
EXAMPLE: Final = "dags/example_edit_image.py"
IN_THE_SOURCES: Final = (
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    EXAMPLE,
    "docs/index.md",
    "pyproject.toml",
    "tests/conftest.py",
)
SHOWN: Final = {
    ("pip", "check"): "No broken requirements found",
    ("airflow", "providers", "list"): "airflow-provider-imagepipeline",
    ("airflow", "providers", "hooks"): f"{PACKAGE}.hooks.imagepipeline.ImagePipelineHook",
    ("airflow", "providers", "links"): f"{PACKAGE}.links.storage.LandedImageLink",
    ("airflow", "providers", "behaviours"): "imagepipeline",
    ("airflow", "plugins"): "imagepipeline",
    ("airflow", "imagepipeline", "--help"): "verify",
    ("python", "-W", "error", "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"): f"site-packages/{PACKAGE}",
}
"""What is run in the new environment, and what its output must hold."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*command: str, **more: object) -> str:
    """Run a program and return what it printed; end with all of it when it fails."""
    done = subprocess.run(command, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False, **more)  # type: ignore[call-overload] # noqa: S603
    if done.returncode:
        sys.exit(f"{done.stdout}\nFAILED ({done.returncode}): {' '.join(command)}")
    return str(done.stdout)


def built() -> tuple[Path, Path]:
    """Return the wheel and the source distribution, made anew."""
    dist = ROOT / "dist"
    for old in dist.glob("*"):
        old.unlink()
    run(UV, "build", "--quiet", "--out-dir", str(dist), str(ROOT))
    (wheel,), (sources,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return wheel, sources


def check_contents(wheel: Path, sources: Path) -> None:
    """End when a file is missing, or is where it ought not to be."""
    tracked = run("git", "ls-files", PACKAGE, cwd=ROOT).splitlines()
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [name for name in names if not name.startswith((f"{PACKAGE}/", "airflow_provider_imagepipeline-"))]
    with tarfile.open(sources) as archive:
        kept = {name.partition("/")[2] for name in archive.getnames()}
    missing = [*sorted({*tracked, f"{PACKAGE}/py.typed"} - {*names}), *sorted({*tracked, *IN_THE_SOURCES} - kept)]
    if foreign or missing:
        sys.exit(f"in the wheel, and no part of the package: {foreign}; missing in wheel or sources: {missing}")
    say(f"{wheel.name}: {len(names)} files; {sources.name}: {len(kept)} files")


def check_use(wheel: Path, sources: Path, place: Path) -> None:
    """Install the wheel with the newest of everything that it asks for, and use it from another folder."""
    python, home = place / "env" / "bin" / "python", place / "home"
    run(sys.executable, "-m", "venv", str(place / "env"))
    run(UV, "pip", "install", "--quiet", "--python", str(python), "--compile-bytecode", str(wheel))
    foreign = ("AIRFLOW", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "300"}

    def show(*command: str, expected: str) -> None:
        program = str(python.with_name(command[0]))
        output = run(program, *command[1:], cwd=place, env=environment)
        lines = [line.strip() for line in output.splitlines() if expected in line]
        if not lines:
            sys.exit(f"{output}\nFAILED: {' '.join(command)} does not show {expected!r}")
        say(f"$ {' '.join(command)}\n  {lines[0][:160]}")

    for command, expected in SHOWN.items():
        show(*command, expected=expected)
    with tarfile.open(sources) as archive:
        archive.extractall(place, filter="data")
    example = next(place.glob(f"*/{EXAMPLE}"))
    code = f"import runpy; print([*map(str, runpy.run_path('{example.relative_to(place)}').values())])"
    show("python", "-c", code, expected="<DAG: ")


def main() -> None:
    wheel, sources = built()
    say(run(UV, "tool", "run", "--quiet", "twine", "check", "--strict", str(wheel), str(sources)).strip())
    check_contents(wheel, sources)
    with tempfile.TemporaryDirectory(prefix="package-") as place:
        check_use(wheel, sources, Path(place))


if __name__ == "__main__":
    main()
