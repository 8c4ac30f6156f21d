"""In which numbers and on which devices a model's weights are opened: dtype, device map, quantisation, attention."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypedDict

import torch
from torch import nn

from vlx.errors import InputError, NoGradient
from vlx.tasks.shared.devices import device_of, dtype_of, moved

SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")  # device maps that accelerate makes
BITS: Mapping[str, dict[str, Any]] = {
    "8bit": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "4bit": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_compute_dtype": "bfloat16"},
}
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


class ChatOptions(TypedDict, total=False):
    """What chat models can be told beside what every model can, when they are opened."""

    device_map: Any
    quantization_config: Any
    attn_implementation: str | None
    max_pixels: int | None
    prompt: str | None


@dataclass(frozen=True)
class Weights:
    """How a model's weights are opened.

    ``device``: by default the CPU. ``dtype``: by default the file's own of chat models, else float32. ``device_map``:
    "auto", another of `SPREAD`, a device, or a device by the name of a module; in place of ``device``.
    ``quantization_config``: "4bit", "8bit" (bitsandbytes), a configuration of transformers or its dict.
    ``attn_implementation``: "sdpa", "eager", "flash_attention_2" or another name that transformers knows.

    >>> Weights(device_map="auto", dtype="bfloat16").options(chat=True, quantised=False)
    {'dtype': torch.bfloat16, 'device_map': 'auto'}

    Raises InputError for a device or dtype that there is not, for ``device`` beside ``device_map``, and for a missing
    accelerate.
    """

    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    device_map: Any = None
    quantization_config: Any = None
    attn_implementation: str | None = None

    @classmethod
    def of(cls, device: Any, dtype: Any, chat: ChatOptions) -> "Weights":
        """Those of the options of `load` that say how weights are opened. Raises InputError for options not known."""
        if strange := set(chat) - set(ChatOptions.__annotations__):
            raise InputError(f"load() takes no {', '.join(sorted(strange))}")
        return cls(
            device, dtype, chat.get("device_map"), chat.get("quantization_config"), chat.get("attn_implementation")
        )

    def __post_init__(self) -> None:
        device_of(self.device)
        dtype_of(self.dtype)
        if self.device_map is not None:
            self._check_map()
        if isinstance(self.quantization_config, str) and self.quantization_config not in BITS:
            raise InputError(
                f"quantization_config={self.quantization_config[:40]!r} is none by name; known are "
                f"{', '.join(BITS)}; others as transformers has them: transformers.BitsAndBytesConfig(…)"
            )
        if self.quantization_config is not None and not isinstance(self.quantization_config, str):
            self._check_quantisation()

    def options(self, *, chat: bool, quantised: bool) -> dict[str, Any]:
        """What ``from_pretrained`` is told; ``quantised``: the files are, by what their config.json says.

        Raises InputError for what only chat models can have.
        """
        given = {"device_map": self.device_map, "quantization_config": self.quantization_config}
        if not chat and (strange := [name for name, value in given.items() if value is not None]):
            raise InputError(
                f"{' and '.join(strange)}: for chat models (vision-language LLMs) only; this one takes device and dtype"
            )
        options = {name: value for name, value in given.items() if value is not None}
        if isinstance(self.quantization_config, str):
            options["quantization_config"] = dict(BITS[self.quantization_config])
        if self.attn_implementation is not None:
            options["attn_implementation"] = self.attn_implementation
        if self.device is not None and (quantised or "quantization_config" in options):  # cannot be moved later
            options["device_map"] = {"": str(device_of(self.device))}
        own = chat and self.dtype is None
        return {"dtype": "auto" if own else dtype_of(self.dtype), **options}

    def placed(self, model: nn.Module) -> nn.Module:
        """The model where it is to be; dispatched and quantised ones stay as they were opened."""
        return model if dispatched(model) or quantised(model) else moved(model, device_of(self.device))

    def _check_map(self) -> None:
        if self.device is not None:
            raise InputError("device and device_map both say where the model goes; give one of them")
        if isinstance(self.device_map, str) and self.device_map not in SPREAD:
            device_of(self.device_map)
        if find_spec("accelerate") is None:
            raise InputError("device_map needs accelerate, which is not installed: pip install accelerate")

    def _check_quantisation(self) -> None:
        config = self.quantization_config
        method = config.get("quant_method") if isinstance(config, Mapping) else getattr(config, "quant_method", None)
        if method is None:
            raise InputError(
                f"quantization_config is a {type(config).__name__} without a quant_method; give "
                'transformers.BitsAndBytesConfig(load_in_4bit=True) or another of its kind, or "4bit", "8bit"'
            )


def dispatched(model: nn.Module) -> bool:
    """Whether accelerate has put a model's parts in several places."""
    return len(getattr(model, "hf_device_map", None) or ()) > 0


def quantised(model: nn.Module) -> bool:
    """Whether a model's weights are other than floating-point numbers of its dtype."""
    return bool(getattr(model, "is_quantized", False))


def refuse_gradients(model: nn.Module, name: str) -> None:
    """Raises NoGradient where a method needs gradients and they do not go through the model's weights."""
    if not differentiable(model):
        kind = type(getattr(model, "hf_quantizer", None)).__name__
        raise NoGradient(
            f"{name}: its weights are quantised in a way that gives no gradients ({kind}), which this method needs; "
            'take method="occlusion", or open the model unquantised'
        )


def differentiable(model: nn.Module) -> bool:
    """Whether gradients go through a model's weights: some kernels of quantised ones have none."""
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None:
        return True
    trainable = quantizer.is_trainable
    return bool(trainable() if callable(trainable) else trainable)
