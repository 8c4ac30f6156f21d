"""Link ``vlx/tasks/…`` and ``vlx/neuron_names/…`` to the mapped folders, so that mypy and editors see one tree.

Run once per clone, and again when pyproject.toml maps a new folder: ``python tools/link.py``. Git ignores the links.
"""

import os
import tomllib
from pathlib import Path


def link(root: Path) -> dict[Path, str]:
    """Make one link per line of ``[tool.setuptools.package-dir]`` in ``root``; drop links that no line asks for.

    A package in another one is seen through the link of that one.

    Returns where each link leads. Raises FileExistsError where something that is not a link stands in the way.
    """
    mapping = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    outer = {package: folder for package, folder in mapping.items() if package.rpartition(".")[0] not in mapping}
    links = {root.joinpath(*package.split(".")): root / folder for package, folder in outer.items()}
    wanted = {path: os.path.relpath(folder, path.parent) for path, folder in links.items()}
    for old in [entry for parent in {path.parent for path in links} for entry in parent.iterdir()]:
        if old.is_symlink() and os.readlink(old) != wanted.get(old):
            old.unlink()
    for path, target in wanted.items():
        if not path.is_symlink():
            path.symlink_to(target, target_is_directory=True)
    return wanted


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    for path, target in link(here).items():
        print(f"{path.relative_to(here)} -> {target}")
