"""The lowest versions that pyproject.toml allows, one a line: ``python tools/lowest.py [--extra hf] [--but numpy]``.

``pip install $(python tools/lowest.py)`` installs them; ``.ci/lowest`` runs the core tests on them. ``--but`` leaves a
package out, which pip then takes as new as it can; ``--dev`` names a tool that is wanted as the dev extra has it.

Example:  "torch>=2.4" → "torch==2.4"
"""

import argparse
import re
import tomllib
from pathlib import Path

LOWEST = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lowest(requirement: str) -> str:
    """A requirement with a lower bound → that version and no other; raises ValueError for one without."""
    found = LOWEST.match(requirement)
    if found is None:
        raise ValueError(f"{requirement!r} in pyproject.toml has no lower bound; give one: NAME>=VERSION")
    return f"{found['name']}{found['extras'] or ''}=={found['version']}"


def numbers(version: str) -> list[int]:
    """A version as numbers, which can be compared: "2.10" is newer than "2.6"."""
    return [int(part) for part in re.findall(r"\d+", version)]


def main() -> None:
    """Print them."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--extra", action="append", default=[], help="an extra whose packages are wanted, too")
    asked.add_argument("--but", action="append", default=[], help="a package that is left out")
    asked.add_argument("--dev", action="append", default=[], help="a tool, as the dev extra has it")
    given = asked.parse_args()
    project = tomllib.loads(Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted: dict[str, str] = {}
    for own in map(lowest, [*project["dependencies"], *(one for extra in given.extra for one in extras[extra])]):
        name, _, version = own.partition("==")
        wanted[name] = max(wanted.get(name, ""), version, key=numbers)  # an extra may need a newer one
    for name, version in wanted.items():
        if name not in given.but:
            print(f"{name}=={version}")
    for tool in extras["dev"]:
        if re.split("[=<>~]", tool)[0] in given.dev:
            print(tool)


if __name__ == "__main__":
    main()
