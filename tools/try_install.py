"""Do what a person does first, with the installed vlx: ``PYTHON tools/try_install.py installed|editable``.

Run it with the python of the environment to try, from a folder away from the repository. It imports every module,
asks for the help and runs the demo. Exits with a message that says what failed.
"""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO_SECONDS = 30  # what the README promises after the installation


def check_home(kind: str) -> None:
    """See that vlx comes from the checkout exactly when it was installed as editable."""
    import vlx

    home = Path(str(vlx.__file__)).resolve()
    if home.is_relative_to(ROOT) != (kind == "editable"):
        sys.exit(f"{kind}: vlx was imported from {home}")
    for name in ("tasks", "neuron_names"):
        if importlib.util.find_spec(name):
            sys.exit(f"{kind}: a global package named {name!r} can be imported; it must be vlx.{name}")


def import_all() -> int:
    """Import every module of vlx with what is installed here; returns how many there are."""
    import vlx

    names = [module.name for module in pkgutil.walk_packages(vlx.__path__, "vlx.")]
    for name in names:
        importlib.import_module(name)
    for public in vlx.__all__:
        getattr(vlx, public)
    return len(names)


def run_demo(folder: Path) -> tuple[Path, float]:
    """Run ``vlx --help`` and ``vlx demo``; returns the report, whose path is the demo's last line, and seconds."""
    program = str(Path(sysconfig.get_path("scripts")) / "vlx")
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    start = time.perf_counter()
    out = subprocess.run([program, "demo", "--out", str(folder)], check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - start
    report = Path(out.rstrip().rpartition("\n")[2])
    if report.suffix != ".html" or not report.is_file():
        sys.exit(f"vlx demo: the last line is not the path of a report:\n{out}")
    if seconds > DEMO_SECONDS:
        sys.exit(f"vlx demo: {seconds:.1f} s, more than {DEMO_SECONDS} s")
    return report, seconds


def main(kind: str) -> None:
    """Try it all and print one line."""
    check_home(kind)
    modules = import_all()
    with tempfile.TemporaryDirectory() as folder:
        report, seconds = run_demo(Path(folder) / "demo")
        size = report.stat().st_size / 1e3
    print(f"{kind}: {modules} modules import; vlx demo wrote {report.name} ({size:.0f} kB) in {seconds:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1])
