"""Adapters of transformers on the independent tiny models of ../shared, whose numbers come from code of its own."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import Tiny
from vlx.methods import engine
from vlx.protocol.powers import meet
from vlx.protocol.targets import Target, Term
from vlx.tasks.captioning import blip, git, vision_encoder_decoder
from vlx.tasks.huggingface.texts import packed
from vlx.tasks.vqa import blip as blip_vqa
from vlx.tasks.vqa import blip_matching, vilt

FILE = Path(__file__).parents[3] / "shared" / "reference" / "tiny_vlms.py"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="../shared/reference/tiny_vlms.py is not here")

MAKERS: dict[str, tuple[Any, str]] = {  # the reference's name, and the tiny model with words and pictures of its size
    "blip_caption": (blip.adapter, "blip-vqa"),
    "vision_encoder_decoder": (vision_encoder_decoder.adapter, "vit-gpt2"),
    "git": (git.adapter, "blip-vqa"),
    "blip_vqa": (blip_vqa.adapter, "blip-vqa"),
    "blip_itm": (blip_matching.adapter, "blip-vqa"),
    "vilt": (vilt.adapter, "vilt"),
}


@pytest.fixture(scope="module")
def reference() -> Any:
    spec = spec_from_file_location("tiny_vlms", FILE)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["tiny_vlms"] = module
    spec.loader.exec_module(module)
    return module


def target(reference: Any, name: str, inputs: dict[str, Any], weights: tuple[float, ...]) -> Target:
    """Of an answer the reference's tokens, of a label its third one or a match."""
    question = tuple(inputs["input_ids"][0].tolist()) if "input_ids" in inputs else ()
    if name in ("vilt", "blip_itm"):
        return Target(0, "", (Term(0, 3 if name == "vilt" else 1),), "logit", question)
    answer = tuple(reference.ANSWER)
    terms = tuple(map(Term, range(len(answer)), answer, weights))
    return Target(0, "", terms, "logprob", packed(question, answer) if name == "blip_vqa" else answer)


@pytest.mark.parametrize("name", MAKERS)
def test_scores_features_and_gradients_are_the_references(tiny_models: Tiny, reference: Any, name: str) -> None:
    model, inputs = reference.FAMILIES[name].build()
    model = reference.sharpen(model).double()
    inputs |= {"pixel_values": inputs["pixel_values"].double()}
    make, family = MAKERS[name]
    _, processor, tokenizer = tiny_models.parts(family)
    task = make(model, processor, tokenizer, name=name)
    seen = task.features(inputs["pixel_values"])
    asked = target(reference, name, inputs, (1, 2, -1))
    at, _ = meet(task, seen, [asked])
    values, gradient = engine.gradients(task, at.A, [asked], at.rest)

    with reference.recording(name, model) as kept:
        words = reference.scores(name, model, inputs, reference.ANSWER)
    weights = torch.tensor([term.weight for term in asked.terms], dtype=torch.double)
    read = words.double() if len(words) > 1 else words
    total = (weights * read).sum()
    assert values.item() == pytest.approx(float(total.detach()), abs=1e-4)
    if name == "vilt":
        torch.testing.assert_close(at.A, reference.vilt_grid(model, inputs), rtol=0, atol=1e-10)
        return
    torch.testing.assert_close(at.A, reference.grid(name, kept[-1].detach()), rtol=0, atol=1e-10)
    (wanted,) = torch.autograd.grad(total, kept[-1])
    found = reference.grid(name, wanted)
    assert float(found.abs().max()) > 1e-6
    torch.testing.assert_close(gradient, found, rtol=1e-4, atol=1e-6 * float(found.abs().max()))
