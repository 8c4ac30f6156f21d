"""Tokens and turned maps in adapters: explained as by plain autograd, and as the same model laid out naturally."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision import models

import vlx
from tests.answerers import ANSWERS, QUESTION, WORDS, vqa
from tests.dissections import COUNTED, made, same
from tests.fakes import TinyCnn, alike, captioner, features_of, picture, prepare
from vlx.errors import ModelError
from vlx.methods import engine
from vlx.neuron_names.dissection import dissect
from vlx.neuron_names.dissection.layers import Layers
from vlx.protocol.nested import nested
from vlx.protocol.targets import GradientWay, Target, Term
from vlx.tasks.classification import Classifier
from vlx.tasks.classification import torchvision as ready
from vlx.tasks.vqa import CnnLstmVqa

WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")
D, SIDE = 8, 4  # width, and pixels of a patch


class Vit(nn.Module):
    """A ViT as timm writes it: ``blocks.N``, ``before`` tokens before the patches and ``after`` behind, read by one."""

    def __init__(self, before: int = 1, after: int = 0, pooled: bool = False, unfolded: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, D, SIDE, SIDE)
        self.own = nn.Parameter(torch.randn(before + after, D))
        self.places = nn.Parameter(torch.randn(24, D))
        layer = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList([layer, *(nn.TransformerEncoderLayer(D, 2, 16, batch_first=True) for _ in "ab")])
        self.head = nn.Linear(D, 5)
        self.before, self.after, self.pooled, self.unfolded = before, after, pooled, unfolded

    def embed(self, x: Tensor) -> Tensor:
        if self.unfolded:  # as with einops: nothing to follow
            cells = F.unfold(x, SIDE, stride=SIDE).mT @ self.patch.weight.flatten(1).mT + cast(Tensor, self.patch.bias)
        else:
            cells = self.patch(x).flatten(2).mT
        own = self.own.expand(len(x), -1, -1)
        return torch.cat([own[:, : self.before], cells + self.places[: cells.shape[1]], own[:, self.before :]], 1)

    def read(self, tokens: Tensor) -> Tensor:
        stop = tokens.shape[1] - self.after
        logits: Tensor = self.head(tokens[:, self.before : stop].mean(1) if self.pooled else tokens[:, 0])
        return logits

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.read(tokens)


def seeded(build: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().double().eval()


def pictures(count: int = 1, size: tuple[int, int] = (16, 24)) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(5), dtype=torch.double)


def shrunk(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((24, 16)), np.float64).copy()).permute(2, 0, 1) / 127.5 - 1


def by_hand(model: Any, block: int, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """A [B, D, 4, 6] behind a block and the gradient of a logit there, straight from the model's own parts."""
    tokens = model.embed(x)
    for layer in model.blocks[: block + 1]:
        tokens = layer(tokens)
    leaf = tokens.detach().requires_grad_()
    after = leaf
    for layer in model.blocks[block + 1 :]:
        after = layer(after)
    (gradient,) = torch.autograd.grad(model.read(after)[:, number].sum(), leaf)
    cells = slice(model.before, leaf.shape[1] - model.after)
    return tuple(
        part[:, cells].detach().mT.unflatten(2, (x.shape[2] // SIDE, x.shape[3] // SIDE)) for part in (leaf, gradient)
    )


KINDS: dict[str, Callable[[], Vit]] = {
    "class token": Vit,
    "distilled": lambda: Vit(2),
    "registers": lambda: Vit(5),
    "registers behind": lambda: Vit(1, 4),
    "pooled": lambda: Vit(0, pooled=True),
    "pooled, registers behind": lambda: Vit(0, 4, pooled=True),
    "unfolded": lambda: Vit(1, unfolded=True),
    "unfolded, registers behind": lambda: Vit(1, 3, unfolded=True),
}


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (16, 16)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_a_classifier_are_those_of_plain_autograd(kind: str, size: tuple[int, int]) -> None:
    model, x = seeded(KINDS[kind]), pictures(3, size)
    task = Classifier(model, "blocks.0", prepare=shrunk, outputs="softmax")
    features = task.features(x)
    A, G = by_hand(model, 0, x, 2)
    torch.testing.assert_close(features.A, A, rtol=0, atol=1e-12)
    assert (features.grid.stride, features.grid.offset) == ((4, 4), (1.5, 1.5))
    targets = [Target(row, "", (Term(0, 2),), "logit") for row in (2, 0, 1)]
    for way in WAYS:
        scores, gradients = engine.gradients(task, features.A, targets, features.rest, way=way)
        torch.testing.assert_close(gradients, G[[2, 0, 1]], rtol=0, atol=1e-12)
        torch.testing.assert_close(scores, model(x)[[2, 0, 1], 2].detach(), rtol=0, atol=1e-12)
    assert G.abs().max() > 1e-4
    torch.testing.assert_close(task.see(x.clone()), A, rtol=0, atol=1e-12)


def test_a_token_that_leaks_into_the_grid_would_be_seen() -> None:
    model, x = seeded(Vit), pictures()
    A, _ = by_hand(model, 0, x, 2)
    tokens = model.blocks[0](model.embed(x))
    leaked = tokens[:, :-1].mT.unflatten(2, (4, 6))
    assert (leaked - A).abs().max() > 0.1


def test_cells_that_reach_no_score_are_told_with_the_mend() -> None:
    task = Classifier(seeded(Vit), "blocks.2", prepare=shrunk, outputs="softmax")
    told = "behind blocks.2 the cells reach no score, another token is read; name an earlier layer"
    assert told in task.features(pictures()).notes and told in task.features(pictures(2)).notes
    for kind, layer in ((Vit, "blocks.1"), (lambda: Vit(1, pooled=True), "blocks.2")):
        reached = Classifier(seeded(kind), layer, prepare=shrunk, outputs="softmax")
        assert len(reached.features(pictures()).notes) == 1


def test_what_goes_before_runs_once_where_no_token_is_lost() -> None:
    model, runs = seeded(Vit), list[int]()
    task = Classifier(model, "blocks.0", prepare=shrunk, outputs="softmax")
    features = task.features(pictures(3))
    handle = model.patch.register_forward_hook(lambda module, given, out: runs.append(len(out)))
    engine.gradients(task, features.A, [Target(n, "", (Term(0, 1),), "logit") for n in range(3)], features.rest)
    handle.remove()
    assert runs == [1]


def test_the_model_and_random_numbers_stay_as_they_were() -> None:
    model, state = seeded(lambda: Vit(1, unfolded=True)), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Classifier(model, "blocks.0", prepare=shrunk).features(pictures())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"grid": (6, 4)},
            r"^layer 'blocks.0' of Vit gives \[1, 25, 8\], that is .* 4 × 6 cells, 1 token before them, not gr",
        ),
        (
            {"prefix": 2},
            r"N = 4 × 6 cells, 1 token before them, not grid=None, prefix=2; leave these out\. Layers that",
        ),
    ],
)
def test_a_grid_that_is_not_so_is_refused(options: dict[str, Any], message: str, unfolded: bool) -> None:
    task = Classifier(seeded(lambda: Vit(unfolded=unfolded)), "blocks.0", prepare=shrunk, outputs="softmax", **options)
    with pytest.raises(ModelError, match=message) as raised:
        task.features(pictures())
    assert len(str(raised.value)) <= 300


class Mixed(nn.Module):
    """Sixteen and one tokens, each made of the whole picture alike."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(3, 17 * D), nn.Linear(D, 5)
        self.tokens = nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.tokens(self.mix(x.mean((2, 3))).unflatten(1, (17, D))).square().mean(1))


def test_tokens_that_cannot_be_told_are_refused_and_taken_as_told() -> None:
    model = seeded(Mixed)
    with pytest.raises(
        ModelError, match=r"^layer 'tokens' of Mixed gives \[1, 17, 8\]: no cell moves .* prefix=…\. No la"
    ):
        Classifier(model, "tokens", prepare=shrunk, outputs="softmax").features(pictures())
    features = Classifier(model, "tokens", prepare=shrunk, outputs="softmax", grid=(4, 4), prefix=1).features(
        pictures()
    )
    assert features.A.shape == (1, D, 4, 4) and features.rest["others"].shape == (1, 1, D)
    assert "untried" in features.notes[0]


# torchvision's transformers.


def test_layers_that_are_offered_hold_places() -> None:
    model = models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5).eval()

    def small(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.asarray(image.resize((32, 32)), np.float32).copy()).permute(2, 0, 1) / 127.5 - 1

    names = Classifier(model, "conv_proj", prepare=small)._split.layers()
    assert names is not None
    assert {"conv_proj", "encoder.dropout", *(f"encoder.layers.encoder_layer_{n}" for n in range(3))} <= set(names)
    assert not {"heads", "heads.head", "", *(name for name in names if name.startswith("heads"))} & set(names)
    scrambled = nn.Sequential(nn.Conv2d(3, 4, 8, 8), Scrambled(), nn.Flatten(), nn.Linear(64, 5)).eval()
    assert Classifier(scrambled, "0", prepare=small)._split.layers() == {"0": (4, 4)}


class Scrambled(nn.Module):
    """A map whose cells and units are dealt out anew."""

    def forward(self, A: Tensor) -> Tensor:
        return A.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))].view_as(A)


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t"])
def test_transformers_have_a_layer_that_reaches_the_classes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        task = ready.load(name, weights=None)
    assert task.layer == {"vit_b_32": "encoder.layers.encoder_layer_10", "swin_t": "permute"}[name]
    model = cast(Any, task.model)
    nn.init.normal_(model.heads.head.weight if name == "vit_b_32" else model.head.weight)  # zero before training
    features = task.features(task.place(task.prepare(picture(3, 300, 260))[None]))
    assert features.A.shape[2:] == (7, 7)
    gradient = engine.gradients(task, features.A, [Target(0, "", (Term(0, 3),), "logit")], features.rest)[1]
    assert gradient.abs().amax((0, 1)).gt(0).all()


def test_an_untrained_transformer_whose_classes_are_all_zero_is_taken_as_logits() -> None:
    model = seeded(lambda: models.VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=5))
    task = Classifier(model, "encoder.layers.encoder_layer_0", prepare=lambda image: shrunk(image)[..., :16])
    features = task.features(pictures(1, (16, 16)))
    assert task.outputs.meaning == "softmax" and features.A.shape == (1, 8, 4, 4)


def test_a_block_of_swin_is_named() -> None:
    model = seeded(lambda: models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=5))
    x = pictures(2, (32, 48))
    task = Classifier(model, "features.1", prepare=shrunk, outputs="softmax")
    features = task.features(x)
    own = model.features[1](model.features[0](x)).detach()
    torch.testing.assert_close(features.A, own.permute(0, 3, 1, 2), rtol=0, atol=1e-12)
    assert features.notes == ("A was [B, h, w, K] and is laid out as [B, K, h, w]",)
    leaf = own[:1].clone().requires_grad_()
    after = model.head(model.flatten(model.avgpool(model.permute(model.norm(model.features[2:](leaf))))))
    (expected,) = torch.autograd.grad(after[0, 3], leaf)
    target = Target(0, "", (Term(0, 3),), "logit")
    for way in WAYS:
        gradient = engine.gradients(task, features.A, [target], features.rest, way=way)[1]
        torch.testing.assert_close(gradient, expected.permute(0, 3, 1, 2), rtol=0, atol=1e-12)


# Pictures that come in another order.


def on_their_side(image: Image.Image) -> Tensor:
    return shrunk(image).mT.contiguous()


@pytest.mark.parametrize("turned", [on_their_side, lambda image: torch.rot90(shrunk(image), 1, (1, 2)).contiguous()])
def test_a_prepare_that_exchanges_height_and_width_is_refused_with_the_mend(turned: Callable[..., Tensor]) -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    message = r"^prepare lays pictures on their side: rows become columns in its \[C, 24, 16\]; give \[C, H, W\] as PIL"
    with pytest.raises(ModelError, match=message):
        vlx.explain(Classifier(model, "1", prepare=turned, outputs="softmax"), picture(), seen=False)
    mended = Classifier(model, "1", prepare=shrunk, outputs="softmax", call=lambda model, x: model(x.mT))
    features = mended.features(pictures())
    assert features.grid.shape == (4, 6)
    torch.testing.assert_close(features.A, model[1](model[0](pictures().mT)).mT.detach(), rtol=0, atol=1e-12)
    assert features.notes == ("A was [B, K, w, h] and is laid out as [B, K, h, w]",)


def test_a_prepare_with_channels_last_is_refused_with_the_mend() -> None:
    message = (
        r"gave \[16, 24, 3\], channels last; end it with \.permute\(2, 0, 1\), and turn back for a model that wants"
    )
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(ModelError, match=message):
        task = Classifier(model, "1", prepare=lambda image: shrunk(image).permute(1, 2, 0), outputs="softmax")
        vlx.explain(task, picture(), seen=False)


# A layer that gives several maps.


class Stage(nn.Module):
    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.give = nn.Conv2d(3, 4, 4, 4), give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.conv(x))


class Several(nn.Module):
    def __init__(self, give: Callable[[Tensor], Any], take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.stage, self.take, self.head = Stage(give), take, nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.take(self.stage(x)).square().mean((2, 3)))


GIVEN: list[tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = [
    (lambda A: (A.detach() * 2, A), lambda given: given[1]),
    (lambda A: {"shown": A.flatten(2).mT * 3, "read": A}, lambda given: given["read"]),
    (lambda A: (A, A.softmax(1)), lambda given: given[0]),
    (lambda A: (A, [A, A.flatten(2)]), lambda given: (given[0] + given[1][0]) / 2),  # the same map twice
]


@pytest.mark.parametrize(("give", "take"), GIVEN)
def test_of_several_maps_the_one_that_the_score_rests_on(give: Callable[..., Any], take: Callable[..., Any]) -> None:
    model, x = seeded(lambda: Several(give, take)), pictures(2)
    task = Classifier(model, "stage", prepare=shrunk, outputs="softmax")
    features = task.features(x)
    A = model.stage.conv(x).detach().requires_grad_()
    torch.testing.assert_close(features.A, A.detach(), rtol=0, atol=1e-12)
    assert features.notes == ("of the 2 maps that stage gives this is the one that the score rests on",)
    (expected,) = torch.autograd.grad(model.head(A.square().mean((2, 3)))[:, 1].sum(), A)
    targets = [Target(n, "", (Term(0, 1),), "logit") for n in (0, 1)]
    torch.testing.assert_close(engine.gradients(task, features.A, targets, features.rest)[1], expected)


def test_two_maps_that_both_count_are_refused() -> None:
    model = seeded(lambda: Several(lambda A: (A, F.avg_pool2d(A, 2)), lambda A: A[0] + A[1].mean((2, 3), keepdim=True)))
    message = (
        r"^layer 'stage' of Several gives 2 maps that the score rests on, \[1, 4, 4, 6\] and \[1, 4, 2, 3\]: name one o"
    )
    with pytest.raises(ModelError, match=message) as raised:
        Classifier(model, "stage", prepare=shrunk, outputs="softmax").features(pictures())
    assert len(str(raised.value)) <= 300


# Captioners and VQA models: what stands behind the CNN gets A in its own layout.


class Laid(nn.Module):
    """A CNN whose map is laid out anew."""

    def __init__(self, inner: nn.Module, lay: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.lay = inner, lay

    def forward(self, x: Tensor) -> Tensor:
        return self.lay(self.inner(x))


class Back(nn.Module):
    """A decoder or head that undoes it."""

    def __init__(self, inner: Any, back: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.back = inner, back
        for name in ("step", "logits", "embed"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    def start(self, made: Tensor) -> Any:
        return self.inner.start(self.back(made))

    def forward(self, made: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.inner(self.back(made), tokens, lengths)
        return logits

    def answer(self, made: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.inner.answer(self.back(made), embedded, lengths)
        return logits


def grid_of(tokens: Tensor) -> Tensor:
    return tokens.mT.reshape(len(tokens), -1, 4, 4)


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "channels last": (lambda A: A.permute(0, 2, 3, 1), lambda T: T.permute(0, 3, 1, 2)),
    "turned": (lambda A: A.mT, lambda T: T.mT),
    "tokens": (lambda A: A.flatten(2).mT, grid_of),
    "units first": (lambda A: A.flatten(2), lambda T: T.reshape(len(T), -1, 4, 4)),
    "class token": (
        lambda A: torch.cat([A.mean((2, 3))[:, None], A.flatten(2).mT], 1),
        lambda T: grid_of(T[:, 1:]) + T[:, :1].mT[..., None] * 1e-30,
    ),
    "sequence first": (lambda A: A.flatten(2).permute(2, 0, 1), lambda T: grid_of(T.transpose(0, 1))),
}
LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


def cnn(layout: str) -> nn.Module:
    torch.manual_seed(0)
    return Laid(TinyCnn().double(), LAYOUTS[layout][0]).eval()


@LAYOUT
@pytest.mark.parametrize("kind", ["attention", "state", "in place"])
def test_captions_are_explained_as_in_the_natural_layout(layout: str, kind: str) -> None:
    plain = captioner(kind, torch.float64)
    task = captioner(kind, torch.float64)
    task.cnn, task.decoder = Laid(task.cnn, LAYOUTS[layout][0]).eval(), Back(task.decoder, LAYOUTS[layout][1]).eval()
    options: dict[str, Any] = {"method": "hirescam"}
    alike(vlx.explain(task, picture(), **options), vlx.explain(plain, picture(), **options), 1e-12)
    for one, other in zip(
        vlx.explain_many(task, [picture(1), picture(2)], batch_size=2, seen=False),
        vlx.explain_many(plain, [picture(1), picture(2)], batch_size=2, seen=False),
        strict=True,
    ):
        alike(one, other, 1e-12)


@LAYOUT
@pytest.mark.parametrize("kind", ["attention", "concatenation"])
def test_answers_are_explained_as_in_the_natural_layout(layout: str, kind: str) -> None:
    plain = vqa(kind, torch.float64)
    lay, back = LAYOUTS[layout]
    inner, head = cast(nn.Module, plain.cnn), Back(plain.head, back).eval()
    task = CnnLstmVqa(Laid(inner, lay).eval(), cast(Any, head), WORDS, ANSWERS, prepare, unknown=1, name="tiny")
    why, expected = (vlx.explain(each, picture(), question=QUESTION) for each in (task, plain))
    alike(why, expected, 1e-12)
    features = features_of(task, 1, 2)
    tokens = task.tokens(QUESTION)[1]
    targets = [Target(row, "", (Term(0, n),), "logit", tokens) for row, n in ((1, 0), (0, 2), (1, 3))]
    ours = engine.gradients(task, features.A, targets, features.rest)
    theirs = engine.gradients(plain, features.A, targets)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    rest = nested(lambda tensor: tensor[:1], features.rest)
    asked = task.question_gradients(features.A[:1], targets[1], rest)
    expected_words = plain.question_gradients(features.A[:1], targets[1])
    assert (asked is None) == (expected_words is None)
    if asked is not None:
        torch.testing.assert_close(asked, expected_words, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["channels last", "class token"])
def test_units_are_named_as_in_the_natural_layout(layout: str) -> None:
    data = made(6, size=(16, 16))
    plain, task = (captioner("state", torch.float64) for _ in "ab")
    task.cnn, task.decoder = Laid(task.cnn, LAYOUTS[layout][0]).eval(), Back(task.decoder, LAYOUTS[layout][1]).eval()
    one, other = (dissect(each, data, quantile=0.05) for each in (task, plain))
    same(one, other, COUNTED)


def test_units_of_a_named_layer_in_another_order_are_named_by_their_places() -> None:
    model = seeded(lambda: models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=5))
    task = Classifier(model, "features.3", prepare=shrunk, outputs="softmax")
    own = Layers(task, {"one": model.features[1]})
    x = pictures(2, (32, 48))
    A, grid = own(x)["one"]
    torch.testing.assert_close(
        A, model.features[1](model.features[0](x)).permute(0, 3, 1, 2).detach(), rtol=0, atol=1e-12
    )
    assert grid.shape == (8, 12) and grid.stride == (4, 4)


# Zero-shot: the classes are texts.


def test_a_clip_model_is_a_classifier_of_texts() -> None:
    transformers = pytest.importorskip("transformers")
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = {**vision, "vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 49, "bos_token_id": 48}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    clip = seeded(lambda: transformers.CLIPModel(config))
    tokens = torch.tensor([[48, 3, 4, 49], [48, 3, 5, 49], [48, 6, 7, 49]])
    with torch.no_grad():
        texts = F.normalize(clip.get_text_features(input_ids=tokens).pooler_output, dim=-1)

    def cosines(output: Any) -> Tensor:
        picture = F.normalize(clip.visual_projection(output.pooler_output), dim=-1)
        found: Tensor = clip.logit_scale.exp() * picture @ texts.mT
        return found

    def small(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.asarray(image.resize((32, 32)), np.float64).copy()).permute(2, 0, 1) / 127.5 - 1

    task = Classifier(
        clip.vision_model, "encoder.layers.1", ["a cat", "a dog", "a house"], small, outputs=cosines,
        call=lambda model, x: model(pixel_values=x),
    )  # fmt: skip
    why = vlx.explain(task, picture(4, 64, 48), answer="a dog", seen=False, method="gradcam")
    x = small(picture(4, 64, 48))[None]
    said = clip(pixel_values=x, input_ids=tokens).logits_per_image.detach()
    features = task.features(x)
    assert [float(value) for value in features.rest["logits"][0]] == pytest.approx(said[0].tolist(), abs=1e-10)
    hidden = clip.vision_model(pixel_values=x, output_hidden_states=True).hidden_states[2].detach().requires_grad_()
    after = clip.vision_model.encoder.layers[2](hidden, attention_mask=None)
    after = after[0] if isinstance(after, tuple) else after
    pooled = clip.vision_model.post_layernorm(after[:, 0])
    score = (clip.logit_scale.exp() * F.normalize(clip.visual_projection(pooled), dim=-1) @ texts.mT)[0, 1]
    (gradient,) = torch.autograd.grad(score, hidden)
    expected = ((gradient[0, 1:].mean(0) * hidden.detach()[0, 1:]).sum(1)).unflatten(0, (4, 4))
    np.testing.assert_allclose(why["a dog"].signed, expected.numpy(), rtol=0, atol=1e-6 * float(expected.abs().max()))
