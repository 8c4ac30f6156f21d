"""``vlx evaluate``: how good captions and explanations are, every figure beside its baselines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vlx.cli.options import LOADING, Spelled, console, progress

if TYPE_CHECKING:
    from vlx.evaluation import Result
    from vlx.protocol.task import Task

SCENES = 500
WIDE = 130
OF_SCENES = ("pointing", "occlusion", "looking", "because")
OF_PHOTOGRAPHS = ("captions", "pointing")
METRICS = tuple(dict.fromkeys((*OF_SCENES, *OF_PHOTOGRAPHS)))


@click.command(short_help="Measure captions and explanations.")
@click.argument("model")
@click.argument("dataset", required=False)
@click.option(
    "--n", type=click.IntRange(min=1), help="How many held-out scenes (default 500) or photographs (default: all)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--occlusion", is_flag=True, help="Also hide the picture at each map's peak (slower).")
@click.option(
    "--metrics",
    type=Spelled(METRICS, "metrics"),
    help="Do maps point at the right things? Does occlusion agree? Does a VQA model look at all? Are reasons true? Are "
    "captions good?  Default: pointing on scenes, captions on photographs.",
)
@click.option("--only", type=click.Path(path_type=Path), help="List of the photographs to measure on, by file name.")
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help="COCO captions for pointing, where none lie beside the polygons.",
)
@LOADING
def evaluate(
    model: str,
    dataset: str | None,
    n: int | None,
    as_json: bool,
    occlusion: bool,
    metrics: str | None,
    only: Path | None,
    captions: Path | None,
    loading: dict[str, str],
) -> None:
    """Measure a MODEL against drawn scenes, or against the captioned photographs of a DATASET, beside baselines.

    MODEL: a name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run).
    DATASET is flickr8k:DIR (Images/, captions.txt; its official test split) or coco:DIR (pictures,
    annotations/captions_*.json; for pointing instances_*.json, too).

    \b
    Example:  vlx evaluate scenes/captioner --n 500
              vlx evaluate scenes/vqa-biased --metrics looking --n 200
              vlx evaluate runs/mine/bundle flickr8k:data/flickr8k --metrics captions
              vlx evaluate photos/captioner coco:data/coco --metrics pointing
    """
    import vlx

    if dataset is None:
        metrics = metrics or "pointing"
        if metrics not in OF_SCENES or only is not None:
            raise click.UsageError(f"--{'only' if only else 'metrics ' + metrics} needs a DATASET of photographs")
    if captions is not None and (dataset is None or metrics != "pointing"):
        raise click.UsageError("--captions goes with coco:DIR --metrics pointing")
    task = vlx.load(model, **loading)
    if dataset is None:
        result = _on_scenes(task, metrics or "pointing", n or SCENES, occlusion)
    else:
        result = _on_photographs(task, metrics, dataset, only, n, captions)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
        return
    console(WIDE).print(result.table())


def _on_scenes(task: "Task", metrics: str, n: int, occlusion: bool) -> "Result":
    from vlx import evaluation

    if metrics == "looking":
        return evaluation.looking(task, n, progress=progress("scenes"))
    if metrics == "because":
        return evaluation.grounds(task, n, progress=progress("scenes"))
    if metrics == "occlusion":
        return evaluation.agreement(task, n, progress=progress("scenes"))
    return evaluation.evaluate(task, n, occlusion=occlusion, progress=progress("scenes"))


def _on_photographs(
    task: "Task", metrics: str | None, dataset: str, only: Path | None, n: int | None, captions: Path | None
) -> "Result":
    from vlx.evaluation import datasets, photo_captions

    if metrics not in (None, *OF_PHOTOGRAPHS):
        raise click.UsageError(f"--metrics {metrics} is measured on drawn scenes, without a DATASET")
    called = f"{dataset} --only {only}" if only else dataset
    if metrics == "pointing":
        from vlx.evaluation.word_pointing import word_pointing

        called += f" --captions {captions}" if captions else ""
        return word_pointing(
            task, datasets.outlined(dataset, captions, only), n, called=called, progress=progress("photographs")
        )
    data = datasets.photographs(dataset, only)
    return photo_captions.measured(task, data, called, n, progress=progress("photographs"))
