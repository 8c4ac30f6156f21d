"""`Classifier`: what it predicts and takes as a class, real weights, and torchvision's models by name."""

import importlib.util
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.methods.cams import METHODS, importance_weights
from vlx.pipeline.explain import explain
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.tasks.classification import Classifier
from vlx.tasks.classification import torchvision as ready
from vlx.tasks.classification.classifier import imagenet_prepare

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "real" / "photos"
CLASSES = 5
NAMES = ["tench, Tinca tinca", "tabby, tabby cat", "tiger cat", "crane", "crane"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Any:
        return self.head((self.body(x) ** 2).mean((2, 3)).tanh())

    def after(self, A: Tensor) -> Tensor:
        logits: Tensor = self.head((A**2).mean((2, 3)).tanh())
        return logits


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net().double().eval()


def pictures(count: int = 1) -> Tensor:
    return torch.randn(count, 3, 16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((24, 16)), np.float32).copy()).permute(2, 0, 1) / 127.5 - 1


def photo(height: int = 60, width: int = 100) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def task_of(model: nn.Module, **options: Any) -> Classifier:
    return Classifier(model, "body", prepare=prepare, **options)


# What it predicts.


def test_the_likeliest_class() -> None:
    model, x = net(), pictures(3)
    task = task_of(model, labels=NAMES, notes=["a note"])
    predictions = task.predict(task.features(x), [Query()] * 3)
    logprobs = model(x).detach().log_softmax(1)
    for row, prediction in enumerate(predictions):
        number = int(logprobs[row].argmax())
        (word,) = prediction.words
        assert prediction.text == word.label == NAMES[number]
        assert word.terms == (Term(0, number),)
        assert word.logprob == pytest.approx(float(logprobs[row, number]))
        order = logprobs[row].argsort(descending=True).tolist()
        assert [other.token for other in word.alternatives] == order
        assert [other.label for other in word.alternatives] == [NAMES[n] for n in order]
        assert sum(np.exp(other.logprob) for other in word.alternatives) == pytest.approx(1)
        assert (prediction.forced, prediction.tokens, prediction.notes) == (False, (), ("a note",))
        scored = engine.scores(
            task, task.features(x).A, [word_target(prediction, 0, row, "logprob")], {"inputs": x, "logits": None}
        )
        assert float(scored[0]) == pytest.approx(word.logprob)


def test_without_labels_classes_are_numbered() -> None:
    task = task_of(net())
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query()])
    assert prediction.text == f"class {int(features.rest['logits'].argmax())}"
    assert task.predict(features, [Query(answer="class 4")])[0].words[0].terms == (Term(0, 4),)
    with pytest.raises(InputError, match=r"^no class 'cat'; the classes have no names here, .* from 0 to 4$"):
        task.predict(features, [Query(answer="cat")])


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("tabby", 1),
        ("Tabby Cat", 1),
        (" tabby, tabby cat ", 1),
        ("TINCA_TINCA", 0),
        ("tiger cat", 2),
        ("3", 3),
        ("class 4", 4),
    ],
)
def test_any_class_may_be_asked_for(asked: str, number: int) -> None:
    task = task_of(net(), labels=NAMES)
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query(answer=asked)])
    assert prediction.text == NAMES[number]
    assert prediction.words[0].terms == (Term(0, number),)
    assert prediction.words[0].logprob == pytest.approx(float(features.rest["logits"].log_softmax(1)[0, number]))
    assert prediction.forced


def test_a_contrast_has_a_second_term() -> None:
    task = task_of(net(), labels=NAMES)
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query(answer="tench", instead_of="tabby")])
    assert prediction.words[0].terms == (Term(0, 0), Term(0, 1, -1.0))
    assert prediction.words[0].notes == ("why this and not tabby, tabby cat",)
    top = int(features.rest["logits"].argmax())
    (prediction,) = task.predict(features, [Query(instead_of=str((top + 1) % CLASSES))])
    assert prediction.words[0].terms == (Term(0, top), Term(0, (top + 1) % CLASSES, -1.0))
    assert not prediction.forced


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(answer="taby"), r"^no class 'taby' among 5; close: tabby \(1\)"),
        (Query(answer="cat"), r"^no class 'cat' among 5; close: .*tabby cat \(1\)"),
        (Query(answer="zeppelin"), r"^no class 'zeppelin' among 5$"),
        (Query(answer=""), r"^no class '' among 5$"),
        (Query(answer="crane"), r"^'crane' is the name of 2 classes: 3 \(crane\), 4 \(crane\); give the number$"),
        (Query(answer="5"), r"^there is no class 5; the model has classes 0 to 4$"),
        (Query(answer="-1"), r"^no class '-1' among 5$"),
        (Query(answer="tench", instead_of="dog"), r"^no class 'dog' among 5"),
        (Query(answer="tench", instead_of="0"), r"^instead_of='0' is the class that is explained; name another"),
        (Query(caption="a cat"), r"^a classifier takes no caption, question or prompt; name a class with answer=…$"),
        (Query(question="what?"), r"^a classifier takes no caption, question or prompt"),
        (Query(prompt="a"), r"^a classifier takes no caption, question or prompt"),
    ],
)
def test_what_cannot_be_asked(query: Query, message: str) -> None:
    task = task_of(net(), labels=NAMES)
    with pytest.raises(InputError, match=message):
        task.predict(task.features(pictures()), [query])


def test_predict_without_kept_logits_puts_the_map_through() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    features.rest.pop("logits")
    features.maps["body"] = features.A * 0
    (prediction,) = task.predict(features, [Query(answer="1")])
    assert prediction.words[0].logprob == pytest.approx(float(model.after(features.A).detach().log_softmax(1)[0, 1]))


# What an adapter has.


def test_the_protocols_fields() -> None:
    task = Classifier(net().float(), "body")
    assert (task.kind, task.name, task.layer, task.notes) == ("classification", "Net", "body", ())
    assert (task.defaults.method, task.defaults.target, task.defaults.gradients) == ("layercam", "logprob", "rows")
    assert task.prepare is imagenet_prepare
    assert task.blank == pytest.approx((0.485, 0.456, 0.406), abs=0.01)
    assert task_of(net(), blank=(0, 0, 1)).blank == (0, 0, 1)
    assert task_of(net(), name="mine").name == "mine"
    assert task_of(net()).place(torch.zeros(1, 3, 4, 4)).dtype == torch.float64
    weakref.ref(task)
    hash(task)


def test_version_changes_with_the_weights() -> None:
    model = net()
    task = task_of(model)
    versions = [task.version()]
    task.features(pictures())
    assert task.version() == versions[0]
    with torch.no_grad():
        model.head.bias.add_(1)
    versions.append(task.version())
    model.load_state_dict(net(1).state_dict())
    versions.append(task.version())
    assert len(set(versions)) == 3


def test_imagenet_prepare_is_torchvisions() -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    image = photo(300, 411)
    torch.testing.assert_close(imagenet_prepare(image), presets.ImageClassification(crop_size=224)(image))


# Real weights: MobileNetV2 ends in a mean over the cells and one linear layer, so the maps are known.


@pytest.fixture(scope="module")
def mobilenet() -> Any:
    file = PHOTOS.parent / "mobilenet_v2" / "model.py"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    spec = importlib.util.spec_from_file_location("mobilenet_v2", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(model=module.load().double(), prepare=module.prepare, labels=module.LABELS)


@pytest.mark.parametrize("layer", ["features", "features.18"])
def test_class_activation_mapping_on_real_weights(mobilenet: Any, layer: str) -> None:
    task = Classifier(mobilenet.model, layer, mobilenet.labels, mobilenet.prepare, name="mobilenet_v2")
    image = Image.open(PHOTOS / "parrot.jpg")
    features = task.features(task.place(task.prepare(image)[None]))
    prediction = task.predict(features, [Query()])[0]
    assert prediction.text == "macaw"
    numbers = [prediction.words[0].terms[0].token, *(other.token for other in prediction.words[0].alternatives[1:4])]
    asked = [Target(0, "", (Term(0, number),), "logit") for number in numbers]
    scores, G = engine.gradients(task, features.A, asked, features.rest)
    w, b = mobilenet.model.classifier.weight.detach()[numbers], mobilenet.model.classifier.bias.detach()[numbers]
    Z = features.A[0, 0].numel()

    def equal(found: Tensor, known: Tensor) -> None:
        assert float((found - known).abs().max() / known.abs().max()) < 1e-9

    gradcam = METHODS["gradcam"].map(features.A, G)
    equal(importance_weights(G), w / Z)
    equal(gradcam, torch.einsum("nk,khw->nhw", w / Z, features.A[0]))
    equal(gradcam.sum((1, 2)), scores - b)
    equal(METHODS["hirescam"].map(features.A, G), gradcam)
    equal(scores, features.rest["logits"][0, numbers])


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("cat_720p.jpg", "Egyptian cat"),
        ("dog_test_0.bmp", "miniature poodle"),
        ("hot_dog.jpg", "hotdog, hot dog, red hot"),
        ("parrot.jpg", "macaw"),
    ],
)
def test_real_photographs_are_explained(mobilenet: Any, file: str, label: str) -> None:
    task = Classifier(mobilenet.model, "features", mobilenet.labels, mobilenet.prepare, name="mobilenet_v2")
    why = explain(task, PHOTOS / file)
    assert why.text == label
    assert (why.method, why.words[0].target, why.task) == ("layercam", "logprob", "classification")
    why = explain(task, PHOTOS / file, method="gradcam", target="logit")
    bias = float(mobilenet.model.classifier.bias[mobilenet.labels.index(label)].detach())
    assert why.words[0].signed.sum() == pytest.approx(why.words[0].score - bias, rel=1e-9)
    assert why.words[0].heatmap.shape == why.image.shape[:2]
    assert (why.words[0].seen or 0) > 3  # nats: a blank picture is not called that


def test_the_pipeline_takes_a_forced_class_and_a_contrast() -> None:
    model = net()
    task = task_of(model, labels=NAMES)
    why = explain(task, photo(), answer="tench", method="hirescam")
    assert (why.text, why.forced, len(why)) == (NAMES[0], True, 1)
    other = explain(task, photo(), answer="2", method="hirescam").words[0]
    contrast = explain(task, photo(), answer="tench", instead_of="tiger cat", method="hirescam").words[0]
    np.testing.assert_allclose(contrast.signed, why.words[0].signed - other.signed, atol=1e-12)
    assert contrast.score == pytest.approx(why.words[0].score - other.score)
    with pytest.raises(InputError, match="no class 'dog' among 5"):
        explain(task, photo(), answer="dog")


# torchvision's models by name; nothing is downloaded here.


@pytest.mark.parametrize(
    ("name", "layer", "units"),
    [
        ("resnet18", "layer4", 512),
        ("mobilenet_v2", "features", 1280),
        ("shufflenet_v2_x0_5", "conv5", 1024),
        ("squeezenet1_1", "features", 512),
        ("googlenet", "inception5b", 1024),
    ],
)
def test_untrained_torchvision_models_by_name(name: str, layer: str, units: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        task = ready.load(name, weights=None)
    assert (task.name, task.layer) == (f"torchvision:{name}", layer)
    why = explain(task, photo(), answer="goldfish", seen=False)
    assert why.words[0].label == "goldfish"
    assert len(why.words[0].weights) == units
    assert why.words[0].signed.any()
    assert why.notes[0] == "untrained: its weights are random"
    assert why.placement.frame.prepared == (224, 224)


def test_the_relu_before_the_last_pooling_is_taken() -> None:
    with torch.device("meta"):  # without its half a gigabyte of weights
        model = models.get_model("vgg16", weights=None)
    assert ready._layer(model, ready.LAYERS["vgg"]) == "features.29"  # relu5_3
    assert isinstance(model.features[29], nn.ReLU)


def test_every_family_has_a_layer() -> None:
    assert all(name.startswith(tuple(ready.LAYERS)) for name in models.list_models(module=models))


def small(monkeypatch: pytest.MonkeyPatch, build: Callable[..., nn.Module]) -> None:
    """ResNet-18 is a small net from here on."""
    monkeypatch.setattr(models, "get_model", lambda name, weights=None: build(weights))
    monkeypatch.setitem(ready.LAYERS, "resnet", "body")


def test_weights_are_downloaded_with_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    small(monkeypatch, lambda weights: asked.append(weights) or Net())  # type: ignore[func-returns-value]
    task = ready.load("resnet18")
    ready.load("resnet18", weights="IMAGENET1K_V1")
    known = models.get_model_weights("resnet18")
    assert asked == [known.DEFAULT, known.IMAGENET1K_V1]
    assert task.labels[1] == "goldfish"
    assert not task.model.training
    assert task.notes == ()
    assert task.prepare(photo()).shape == (3, 224, 224)
    with pytest.raises(ModelError, match=r"^torchvision:resnet18 has no weights 'V9'; known: IMAGENET1K_V1, DEFAULT$"):
        ready.load("resnet18", weights="V9")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("no route"), "no route"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (RuntimeError('invalid hash value (expected "f37072fd", got "0")'), "invalid hash value"),
    ],
)
def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def fail(weights: Any) -> nn.Module:
        raise error

    small(monkeypatch, fail)
    with pytest.raises(ModelError) as caught:
        ready.load("resnet18")
    message = str(caught.value)
    assert message.startswith("torchvision:resnet18: its weights could not be downloaded from https://")
    assert reason in message
    assert "vlx.tasks.classification.torchvision.load('resnet18', weights_file=…)" in message
    assert "checkpoints" in message


@pytest.mark.parametrize("ending", ["pth", "safetensors", "wrapped.pth"])
def test_weights_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str) -> None:
    state, file = net(7).float().state_dict(), tmp_path / f"weights.{ending}"
    if ending == "safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if ending == "wrapped.pth" else state, file)
    small(monkeypatch, lambda weights: net(1).float())
    task = ready.load("resnet18", weights_file=file)
    for key, value in task.model.state_dict().items():
        assert torch.equal(value, state[key])
    assert task.notes == ()


def test_bad_weight_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch, lambda weights: net(1).float())
    state = net().float().state_dict()
    good, file = tmp_path / "good.pth", tmp_path / "weights.pth"
    torch.save(state, good)

    def refused(match: str) -> None:
        with pytest.raises(ModelError, match=match):
            ready.load("resnet18", weights_file=file)

    refused(r"weights.pth: there is no such file; weights_file must be a state dict \(.pth or .safetensors\)")
    for content in (b"", b"not weights", good.read_bytes()[:900]):
        file.write_bytes(content)
        refused("weights.pth: cannot be read as weights")
    torch.save(net(), file)  # a pickle of the model itself is not opened
    refused("weights.pth: cannot be read as weights")
    torch.save([1, 2], file)
    refused("weights.pth: holds no state dict")
    torch.save({**state, "head.bias": torch.zeros(7)}, file)
    refused(r"does not hold the weights of resnet18: 1 of another shape \(head.bias…\)$")
    torch.save({"fc.bias": torch.zeros(7)}, file)
    refused(r"resnet18: 4 missing \(body.0.bias, body.0.weight…\); 1 not in the model \(fc.bias…\)$")
    shutil.copy(good, file.with_suffix(".safetensors"))
    file = file.with_suffix(".safetensors")
    refused("weights.safetensors: cannot be read as weights")


def test_unknown_torchvision_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"^torchvision has no classifier 'resnet_50'; close: resnet50"):
        ready.load("resnet_50")
    monkeypatch.delitem(ready.LAYERS, "vit")
    with pytest.raises(
        ModelError, match=r"^torchvision:vit_b_32 is of a family that vlx does not know; name one of its"
    ):
        ready.load("vit_b_32", weights=None)
