"""Compare a wheel with the tracked files it is made of: ``python tools/check_wheel.py dist/vlx-….whl``.

A template, table or weight file that no line of ``[tool.setuptools.package-data]`` names is in the checkout, so every
test there passes, and missing for everyone who installs vlx. Exits with 1 and the names when the two differ.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

FOLDERS = ("vlx", "tasks", "neuron_names")
ROOT = Path(__file__).resolve().parents[1]


def tracked(root: Path) -> set[str]:
    """Names in the wheel of all files that git tracks in the three folders of code."""
    listed = subprocess.run(["git", "ls-files", "-z", *FOLDERS], cwd=root, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if name and (root / name).is_file()]
    return {name if name.startswith("vlx/") else f"vlx/{name}" for name in names}


def packed(wheel: Path) -> set[str]:
    """Names of the files in a wheel, its metadata left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def main(wheel: Path) -> int:
    """Print what differs; returns the exit status."""
    expected, found = tracked(ROOT), packed(wheel)
    for name in sorted(expected - found):
        print(f"missing from the wheel: {name}: name it in pyproject.toml, packages or package-data")
    for name in sorted(found - expected):
        print(f"in the wheel but not tracked by git: {name}")
    print(f"{wheel.name}: {len(found)} files, {wheel.stat().st_size / 1e6:.1f} MB, {len(expected)} tracked")
    return int(expected != found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
