"""``vlx dissect``: name the units of a model's feature map."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import LOADING, SHARING, Sharing, on_gpu, packed
from vlx.cli.running import INTERRUPTED, writable
from vlx.process import stoppable

if TYPE_CHECKING:
    from vlx.neuron_names.dissection.contents import Progress
    from vlx.neuron_names.dissection.shares import DissectionWorkers
    from vlx.neuron_names.table import NeuronNames
    from vlx.protocol.task import Task

QUANTILES = (0.005, 0.01, 0.02, 0.05)  # counted in one pass where --quantile is not given


@click.command(short_help="Name units by the concepts they detect.")
@click.argument("model")
@click.argument("dataset")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The table to write, .h5.")
@click.option("--layer", "layers", multiple=True, help="A layer before the model's own; several in one run.")
@packed(
    "counting",
    dict,
    click.option(
        "--quantile",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        multiple=True,
        help="Share of cells in a unit's mask; with several each category is read at the one that fits it. "
        f"Default: {', '.join(map(str, QUANTILES))}.",
    ),
    click.option("--folds", type=click.IntRange(min=1), default=4, show_default=True, help="Parts, for error bars."),
    click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True),
    click.option("--compat", type=click.Choice(("lite",)), help="Count as NetDissect-Lite does."),
    click.option("--least", type=click.IntRange(min=1), help="Pictures that have a caption's word, and lack it: 20."),
    click.option("--spill", type=click.Path(path_type=Path), help="Folder for maps: the model runs once, not twice."),
)
@LOADING
@SHARING
def dissect(
    model: str,
    dataset: str,
    out: Path,
    layers: tuple[str, ...],
    counting: dict[str, Any],
    loading: dict[str, Any],
    sharing: Sharing,
) -> None:
    """Name the units of MODEL's feature map by the concepts of DATASET (Network Dissection).

    MODEL: a name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run).

    DATASET: scenes:2000 (drawn scenes), a folder in the Broden layout, a folder of pictures with label maps,
    coco:DIR or a COCO instance file, classes:DIR (a folder a class), or MODULE:FUNCTION of your own. captions:DIR is a
    folder of captioned photographs (Flickr8k's layout or COCO's, with :train for a split): a unit's name is then the
    word that its highest activation tells best, by AUC; no masks needed.

    A run that was stopped goes on where it was, with the same command: the counts are kept in OUT.part until the table
    is saved. Pictures that have changed meanwhile are refused.

    \b
    Example:  vlx dissect scenes/captioner scenes:2000 -o names.h5
              vlx dissect torchvision:resnet50 broden1_224 --quantile 0.005 -o resnet50.h5
              vlx dissect photos/captioner captions:flickr8k:train -o words.h5
              vlx dissect torchvision:resnet50 /shared/broden1_224 -o resnet50.h5 --ray auto
    """
    import vlx
    from vlx.data import Told
    from vlx.files.whole import require_place
    from vlx.neuron_names import open_data
    from vlx.neuron_names.dissection.options import LEAST_PICTURES, QUANTILE
    from vlx.neuron_names.dissection.run import dissect_layers

    if out.suffix.lower() != ".h5":
        raise click.ClickException(f"{out}: the table is written as HDF5; name it {out.with_suffix('.h5')}")
    require_place(out)
    writable(out.parent)
    load = partial(vlx.load, model, **loading)
    task, data = load(), open_data(dataset)
    captioned = isinstance(data, Told)
    counting["quantile"] = counting["quantile"] or (QUANTILE if captioned else QUANTILES)
    if captioned:
        deciding = {"folds": counting["folds"], "least": counting["least"] or LEAST_PICTURES}
    else:
        deciding = {name: value for name, value in counting.items() if name not in ("least", "spill")}
    kept = out.with_name(out.name + ".part")
    with (
        _shared(load, layers, dataset, deciding, sharing) as elsewhere,
        _interruptible(kept) as progress,
    ):
        modules = _modules(task, layers)
        tables = dissect_layers(
            task, data, modules, **counting, checkpoint=kept, progress=progress, elsewhere=elsewhere
        )
    for name, names in tables.items():
        path = out if len(tables) == 1 else out.with_name(f"{out.stem}-{name.replace('/', '_')}.h5")
        click.echo(f"{names.save(path)}: {_summary(names)}")
    kept.unlink(missing_ok=True)  # not before: who is killed here has lost nothing
    for note in next(iter(tables.values())).about.get("left_out", ()):
        click.echo(f"left out: {note}", err=True)


@contextmanager
def _shared(
    load: "partial[Task]",
    layers: tuple[str, ...],
    dataset: str,
    deciding: dict[str, Any],
    sharing: Sharing,
) -> "Iterator[DissectionWorkers | None]":
    """Where --ray asks for it, what dissects on its workers."""
    if sharing.ray is None:
        yield None
        return
    from vlx import cluster

    gpu = on_gpu(load.keywords)
    plan = cluster.Dissection(load, partial(_modules, layers=layers), dataset, deciding)
    with cluster.connected(sharing.ray):
        yield cluster.Dissecting(plan, cluster.Pool(cluster.workers(sharing.workers, gpu), gpu))


def _modules(task: Any, layers: tuple[str, ...]) -> dict[str, Any] | None:
    return {name: _module(task, name) for name in layers} or None


def _summary(names: "NeuronNames") -> str:
    by_category = {category: len(concepts) for category, concepts in names.unique_by_category().items()}
    kinds = ", ".join(f"{number} {category}" for category, number in by_category.items())
    return (
        f"{len(names)} units, {len(names.detectors())} detect something; {names.unique_detectors()} concepts "
        f"({kinds}), {names.unique_detectors(rule='best')} by one name a unit"
    )


def _module(task: Any, name: str) -> Any:
    """The layer of that name in the task's network."""
    network = next(
        (candidate for part in ("model", "cnn") if (candidate := getattr(task, part, None)) is not None), None
    )
    modules = dict(network.named_modules()) if network is not None and hasattr(network, "named_modules") else {}
    if name not in modules:
        from vlx.language import close_matches

        near = ", ".join(close_matches(name, modules)) or ", ".join(list(modules)[1:20])
        raise click.ClickException(f"{task.name} has no layer {name!r}; there are: {near}")
    return modules[name]


@contextmanager
def _interruptible(kept: Path) -> "Iterator[Progress]":
    """A bar for each pass; Ctrl-C finishes the batch in hand, says how to go on, and ends with 130."""
    with stoppable() as stop:

        def progress(items: Iterable[Any], label: str) -> Iterable[Any]:
            for item in _shown(items, label):
                if stop.is_set():
                    raise KeyboardInterrupt
                yield item

        try:
            yield progress
        except KeyboardInterrupt:
            what = f"the same command goes on; {kept} has what was counted" if kept.exists() else "nothing was counted"
            click.echo(f"Interrupted: {what}", err=True)
            sys.exit(INTERRUPTED)


def _shown(items: Iterable[Any], label: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    show: Callable[..., Iterable[Any]] = track
    return show(items, label, console=Console(stderr=True), transient=True)
