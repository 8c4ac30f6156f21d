"""``vlx evaluate``: how good captions and explanations are, every figure beside its baselines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import LOADING, TARGETS, Spelled, console, packed, progress
from vlx.methods.names import METHODS

if TYPE_CHECKING:
    from vlx.data.example import Data

WIDE = 130
OF_SCENES = ("pointing", "occlusion", "looking", "because")
OF_PHOTOGRAPHS = ("captions", "pointing")
METRICS = tuple(dict.fromkeys((*OF_SCENES, *OF_PHOTOGRAPHS)))
CAPTIONED = ("flickr8k", "coco")  # data whose pictures people captioned: a captioner's captions are measured


class Several(Spelled):
    """One or more of several choices, with commas between them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The choices that are meant; fails with close matches and the list."""
        return tuple(super(Several, self).convert(one, param, ctx) for one in str(value).split(","))


@dataclass(frozen=True)
class EvaluationWish:
    """What is measured: by which metrics, methods and targets, on which pictures."""

    metrics: tuple[str, ...] | None
    methods: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    n: int | None
    occlusion: bool
    only: Path | None
    captions: Path | None


@click.command(short_help="Measure captions and explanations.")
@click.argument("model")
@click.argument("dataset", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@packed(
    "asked",
    EvaluationWish,
    click.option(
        "--n", type=click.IntRange(min=1), help="How many held-out scenes (default 500) or photographs (default: all)."
    ),
    click.option("--occlusion", is_flag=True, help="Also hide the picture at each map's peak (slower)."),
    click.option(
        "--metrics",
        type=Several(METRICS, "metrics"),
        help="With commas. Do maps point at the right things? Does occlusion agree? Does a VQA model look at "
        "all? Are reasons true? Are captions good?  Default: pointing; of captioners captions on photographs.",
    ),
    click.option(
        "--methods",
        type=Several((*METHODS[:-1], "default", "random", "centre")),
        help="Methods to measure, with commas; default: all that suit the model; random, centre: baselines.",
    ),
    click.option("--targets", type=Several(TARGETS, "target"), help="Scores to explain; default: each metric's."),
    click.option(
        "--only", type=click.Path(path_type=Path), help="List of the photographs to measure on, by file name."
    ),
    click.option(
        "--captions",
        type=click.Path(path_type=Path),
        help="COCO captions for pointing, where none lie beside the polygons.",
    ),
)
@LOADING
def evaluate(model: str, dataset: str | None, as_json: bool, asked: EvaluationWish, loading: dict[str, str]) -> None:
    """Measure a MODEL against drawn scenes, or against the pictures of a DATASET, beside baselines.

    MODEL: a name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run).
    DATASET is flickr8k:DIR (Images/, captions.txt; its official test split), coco:DIR (pictures,
    annotations/captions_*.json; for pointing instances_*.json, too), easy-vqa:DIR, scenes:COUNT:FIRST or
    MODULE:FUNCTION of your own.

    \b
    Example:  vlx evaluate scenes/captioner --n 500
              vlx evaluate scenes/vqa-biased --metrics looking --n 200
              vlx evaluate runs/mine/bundle flickr8k:data/flickr8k --metrics captions
              vlx evaluate photos/captioner coco:data/coco --metrics pointing --methods default,centre
    """
    import vlx
    from vlx import evaluation
    from vlx.evaluation.cases import tells

    _refuse_misfits(dataset, asked)
    task = vlx.load(model, **loading)
    kind = (dataset or "").partition(":")[0]
    metrics = asked.metrics or (("captions",) if kind in CAPTIONED and tells(task) else ("pointing",))
    result = evaluation.evaluate(
        task,
        _opened(dataset, metrics, asked) if dataset else asked.n,
        metrics=metrics,
        methods=asked.methods,
        targets=asked.targets,
        n=asked.n if dataset else None,
        occlusion=asked.occlusion,
        called=_called(dataset, asked) if dataset else "",
        progress=progress("pictures" if dataset else "scenes"),
    )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
        return
    console(WIDE).print(result.table())


def _refuse_misfits(dataset: str | None, asked: EvaluationWish) -> None:
    """Raises UsageError for what cannot be asked of the data."""
    wanted = asked.metrics or ()
    if dataset is None:
        misfits = [name for name in wanted if name not in OF_SCENES]
        if misfits or asked.only is not None:
            raise click.UsageError(
                f"--{'only' if asked.only else 'metrics ' + misfits[0]} needs a DATASET of photographs"
            )
    elif dataset.partition(":")[0] in CAPTIONED:
        misfits = [name for name in wanted if name not in OF_PHOTOGRAPHS]
        if misfits:
            raise click.UsageError(f"--metrics {misfits[0]} is measured on drawn scenes, without a DATASET")
    if asked.captions is not None and (dataset is None or wanted != ("pointing",)):
        raise click.UsageError("--captions goes with coco:DIR --metrics pointing")


def _opened(dataset: str, metrics: tuple[str, ...], asked: EvaluationWish) -> "Data":
    from vlx.evaluation import datasets

    return datasets.opened(dataset, asked.captions, asked.only, told=metrics == ("captions",))


def _called(dataset: str, asked: EvaluationWish) -> str:
    """How a command names the data."""
    only = f" --only {asked.only}" if asked.only else ""
    return f"{dataset}{only}" + (f" --captions {asked.captions}" if asked.captions else "")
