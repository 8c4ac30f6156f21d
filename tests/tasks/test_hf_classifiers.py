"""Image classifiers of transformers: labels, preparation and the block that is explained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import ModelError  # noqa: E402
from vlx.methods import engine  # noqa: E402
from vlx.protocol.targets import Target, Term  # noqa: E402
from vlx.tasks.huggingface.loading import wrap  # noqa: E402

VIT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
VIT |= {"image_size": 32, "patch_size": 8, "num_labels": 4}
STAGES = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "num_labels": 4}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}

# (class, options, block, units, cells each way, tokens that are no cells)
KINDS: list[tuple[str, dict[str, Any], str, int, int, int]] = [
    ("ViT", VIT, "vit.layers.1", 32, 4, 1),
    ("DeiT", VIT, "deit.layers.1", 32, 4, 2),
    ("Dinov2", VIT, "dinov2.encoder.layer.2", 32, 4, 1),  # the patches' mean is read, too
    ("Dinov2WithRegisters", VIT, "dinov2_with_registers.encoder.layer.2", 32, 4, 5),
    ("Swin", {**SWIN, "num_labels": 4}, "swin.encoder.layers.1", 32, 4, 0),
    ("ResNet", {"embedding_size": 8, **STAGES}, "resnet.encoder.stages.3", 16, 2, 0),
]


def classifier(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    side = 64 if kind == "ResNet" else 32
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**options)
        config.id2label = {n: label for n, label in enumerate(["cat", "dog", "house", "tree"])}
        model = getattr(transformers, f"{kind}ForImageClassification")(config).double().eval()
    return model, transformers.ViTImageProcessor(size={"height": side, "width": side})


@pytest.mark.parametrize(("kind", "options", "block", "units", "cells", "others"), KINDS, ids=[k[0] for k in KINDS])
def test_the_last_block_that_reaches_the_classes(
    kind: str, options: dict[str, Any], block: str, units: int, cells: int, others: int
) -> None:
    model, processor = classifier(kind, options)
    task: Any = wrap(model, processor, name="tiny")
    assert task.layer == block
    x = task.place(task.prepare(picture())[None])
    features = task.features(x)
    assert features.A.shape == (1, units, cells, cells)
    kept = features.rest.get("others")
    assert (0 if kept is None else kept.shape[1]) == others
    torch.testing.assert_close(features.rest["logits"], model(x).logits.detach(), rtol=0, atol=1e-12)
    gradient = engine.gradients(task, features.A, [Target(0, "", (Term(0, 2),), "logit")], features.rest)[1]
    assert gradient.abs().amax((0, 1)).gt(0).all()
    step = 1e-6 * torch.randn(features.A.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    targets = [Target(0, "", (Term(0, 2),), "logit")]
    up, down = (engine.scores(task, features.A + sign * step, targets, features.rest) for sign in (1, -1))
    torch.testing.assert_close((up - down) / 2, (gradient[0] * step[0]).sum()[None], rtol=1e-4, atol=1e-13)


def test_a_classifier_is_explained_with_its_own_labels() -> None:
    model, processor = classifier("ViT", VIT)
    why = vlx.explain(wrap(model, processor), picture(), seen=False, answer="house")
    assert why.text == "house"
    assert np.abs(why[0].signed).max() > 0
    assert any("1 token before them" in note for note in why.notes)


@pytest.mark.parametrize(
    ("problem", "outputs"),
    [(None, "softmax"), ("multi_label_classification", "sigmoid"), ("regression", "value")],
)
def test_the_configuration_says_what_the_outputs_mean(problem: str | None, outputs: str) -> None:
    model, processor = classifier("ViT", {**VIT, "problem_type": problem})
    word = vlx.explain(wrap(model, processor), picture(), seen=False, answer="house")[0]
    logits = model(wrap(model, processor).prepare(picture())[None].double()).logits[0].detach()
    assert word.outputs == outputs
    if outputs == "value":
        assert word.score == pytest.approx(float(logits[2]))
    else:
        p = logits.softmax(0) if outputs == "softmax" else logits.sigmoid()
        assert word.logprob == pytest.approx(float(p[2].log()), abs=1e-6)


def test_a_classifier_without_places_is_refused() -> None:
    model, processor = classifier("ViT", {**VIT, "num_hidden_layers": 1})
    with pytest.raises(
        ModelError, match=r"^tiny: no block of it was seen to hold places that reach its classes; name a"
    ):
        wrap(model, processor, name="tiny")


def test_a_classifier_is_loaded_from_a_folder(tmp_path: Path) -> None:
    model, processor = classifier("ViT", VIT)
    model.float().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    task: Any = vlx.load(str(tmp_path))
    assert (task.kind, task.layer) == ("classification", "vit.layers.1")
    one, other = (vlx.explain(each, picture(), seen=False) for each in (task, wrap(model, processor)))
    assert one.text == other.text
    np.testing.assert_allclose(one[0].signed, other[0].signed, rtol=1e-5)


def test_what_the_outputs_mean_is_in_the_configuration() -> None:
    for problem, meaning in (("multi_label_classification", "sigmoid"), ("regression", "value"), (None, "softmax")):
        model, processor = classifier("ViT", VIT)
        model.config.problem_type = problem
        task: Any = wrap(model, processor)
        assert task.outputs.meaning == meaning
