"""Which models of transformers vlx explains, and by which adapter: one table of lazy names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from typing import Any

from vlx.errors import InputError, ModelError
from vlx.language import shortened
from vlx.protocol.task import Task
from vlx.tasks.huggingface.chat_families import CHAT
from vlx.tasks.huggingface.refusals import quiet

Key = tuple[str, str]  # config.model_type and the class of the model

OLDEST = (5, 0)  # transformers
APART = ("AutoImageProcessor", "AutoTokenizer")  # what transformers reads beside the model, each by itself
WHOLE = ("AutoProcessor",)  # the two and the chat template, as one


@dataclass(frozen=True)
class FamilyRow:
    """A line of the table: what makes a task of the model, the kinds of task it can be, and what is read beside it.

    ``kinds``: the first one is what it is where nobody says otherwise. ``since``: the first version of transformers
    that can run it split.
    """

    maker: str
    kinds: tuple[str, ...]
    beside: tuple[str, ...] = APART
    since: tuple[int, int] = OLDEST

    @property
    def chat(self) -> bool:
        """Whether it is asked by its processor's chat template, and its weights may be large."""
        return self.beside == WHOLE


CHATTING = FamilyRow("vlx.tasks.huggingface.chat:adapter", ("vqa", "captioning"), WHOLE, (5, 20))
UNLISTED = replace(CHATTING, maker="vlx.tasks.huggingface.chat_unlisted:adapter")
TOWERED = replace(CHATTING, maker="vlx.tasks.huggingface.chat_towers:adapter")
FAMILIES: dict[Key, FamilyRow] = {
    ("blip", "BlipForConditionalGeneration"): FamilyRow("vlx.tasks.captioning.blip:adapter", ("captioning",)),
    ("blip", "BlipForQuestionAnswering"): FamilyRow("vlx.tasks.vqa.blip:adapter", ("vqa",)),
    ("blip", "BlipForImageTextRetrieval"): FamilyRow("vlx.tasks.vqa.blip_matching:adapter", ("vqa",)),
    ("vision-encoder-decoder", "VisionEncoderDecoderModel"): FamilyRow(
        "vlx.tasks.captioning.vision_encoder_decoder:adapter", ("captioning",)
    ),
    ("git", "GitForCausalLM"): FamilyRow("vlx.tasks.captioning.git:adapter", ("captioning",)),
    ("vilt", "ViltForQuestionAnswering"): FamilyRow("vlx.tasks.vqa.vilt:adapter", ("vqa",)),
    **{(kind, row.architecture): CHATTING if row.tower is None else TOWERED for kind, row in CHAT.items()},
}

KNOWN = ("LLaVA", "Qwen-VL", "Gemma 3", "BLIP", "… (`vlx models`)")
NOT_DONE = {"gemma3n": "Gemma 3n", "molmo2": "Molmo 2", "mllama": "Llama 3.2 Vision (Mllama)"}
CLASSIFIER = FamilyRow("vlx.tasks.classification.huggingface:adapter", ("classification",), ("AutoImageProcessor",))
TASKS = ("captioning", "vqa")
VISION_NAMES = ("vision_model", "vision_tower", "visual", "vision_encoder", "image_encoder", "vision_embed_tokens")


@dataclass(frozen=True)
class Family:
    """A row of the table, or an image classifier, the class of the model, and the kind of task that is meant."""

    architecture: str
    row: FamilyRow
    kind: str

    @classmethod
    def of(cls, architecture: str, row: FamilyRow, task: str | None = None) -> "Family":
        """The family as what is asked for, else as the first of its kinds."""
        return cls(architecture, row, task if task in row.kinds else row.kinds[0])

    def adapter(self, *parts: Any, **options: Any) -> Task:
        """The task of (model, image processor, tokenizer), the tokenizer None for image classifiers; of chat models of
        (model, processor).
        """
        module, _, function = self.row.maker.partition(":")
        make: Callable[..., Task] = getattr(import_module(module), function)
        return make(*parts, **options, **({"kind": self.kind} if len(self.row.kinds) > 1 else {}))


def find(config: Any, classes: Sequence[str], name: str, task: str | None = None) -> Family:
    """The family of a model by its configuration and the ``classes`` that it may be, most particular first.

    ``task``, "captioning" or "vqa", is what it has to be for; needed only if no class is named and several would do.

    Raises InputError for another ``task``, and ModelError for a model that vlx cannot explain or that is for another
    task.
    """
    if task is not None and task not in TASKS:
        raise InputError(f"task={task!r} is no task of these models; known are {', '.join(TASKS)}")
    by_class = {
        architecture: Family.of(architecture, row, task)
        for (kind, architecture), row in FAMILIES.items()
        if kind == config.model_type
    }
    families = [by_class[architecture] for architecture in classes if architecture in by_class]
    if not families and not classes:
        families = [family for family in by_class.values() if task is None or task in family.row.kinds]
        if len(families) > 1:
            raise ModelError(
                f"{name}: its config.json does not say which of {', '.join(one.architecture for one in families)} it "
                'is; add "architectures": ["…"] with the class that its card names'
            )
    if not families:
        families = [
            Family.of(architecture, CLASSIFIER) for architecture in classes if "ForImageClassification" in architecture
        ]
    if not families and config.model_type in NOT_DONE:
        raise ModelError(
            f"{shortened(name, 80)} is a {NOT_DONE[config.model_type]}, a family listed as not done: vlx has no "
            f"adapter for it yet. It knows {', '.join(KNOWN)}; update vlx, or write an adapter"
        )
    if not families:
        families = [Family.of(architecture, UNLISTED, task) for architecture in classes if _is_split(architecture)]
    if not families:
        raise ModelError(_unknown(config, classes, name))
    kinds = families[0].row.kinds
    if task is not None and task not in kinds:
        raise ModelError(f"{name} is a {families[0].architecture}, which does {' and '.join(kinds)}, not {task}")
    return families[0]


def _is_split(architecture: str) -> bool:
    """Whether transformers has a model of that class which takes image tokens that were computed before."""
    import transformers

    model_class = getattr(transformers, architecture, None)
    if model_class is None or not hasattr(model_class, "get_image_features"):
        return False
    return "mm_encoder_outputs" in signature(model_class.forward).parameters


def _unknown(config: Any, classes: Sequence[str], name: str) -> str:
    architecture = shortened(str(classes[0]), 40) if classes else "an unnamed class"
    subject = f"{shortened(name, 80)} is of type {shortened(str(config.model_type), 30)!r} ({architecture})"
    same = [one for kind, one in FAMILIES if kind == config.model_type]
    known = ", ".join(same or KNOWN)
    towers = vision_parts(config, classes)
    if not towers and not _looks(config):
        return f"{subject}, which has no vision part: there is no picture to explain it by. vlx knows {known}"
    refusal = f"{subject}, for which vlx has no adapter. It knows {known}. Update vlx or transformers."
    hint = f" Its vision tower looks to be {shortened(' or '.join(towers), 40)}; an adapter could split it"
    return refusal + hint * bool(towers)


def unfilled(config: Any, architecture: str) -> Any:
    """The network of a configuration on the meta device, which takes no memory; None where it cannot be made so."""
    import torch
    import transformers

    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        return None
    try:
        with quiet(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            return model_class(config)
    except Exception:  # who needs it has other ways to find out, and to say so
        return None


def vision_parts(config: Any, classes: Sequence[str]) -> list[str]:
    """Submodules of the model that look like a vision tower, outermost only; built without weights, or not at all."""
    model = next((built for built in (unfilled(config, one) for one in classes) if built is not None), None)
    if model is None:
        return []
    towers: list[str] = []
    for name, module in model.named_modules():
        inner = any(name.startswith(f"{other}.") for other in towers)
        if name and not inner and _is_tower(name.rpartition(".")[2], module):
            towers.append(name)
    return towers


def _is_tower(name: str, module: Any) -> bool:
    """Whether it is called like one, or is a model that takes pixels and nothing of a text."""
    if name in VISION_NAMES:
        return True
    return getattr(module, "main_input_name", None) == "pixel_values" and hasattr(module, "config")


def _looks(config: Any) -> bool:
    """Whether the configuration, or a part of it, speaks of pictures."""
    parts = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", ()))]
    signs = ("vision_config", "image_size", "patch_size", "num_channels", "image_token_id", "image_token_index")
    return any(getattr(part, sign, None) is not None for part in parts for sign in signs)
