"""`TowerChatTask`: chat models whose text reads latents (of a Q-Former, a resampler), explained at their tower.

Latents have no place in the picture: a map of them would be nonsense. A is what the vision tower gives, and everything
behind it is the model's own: it runs in a twin whose tower hands on A, or takes the latents that its connector makes.
"""

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.placement import Grid
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Query
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.chat import Run, SeeingChatTask
from vlx.tasks.huggingface.chat_crops import LARGE
from vlx.tasks.huggingface.chat_families import CHAT, ChatFamily, Tower
from vlx.tasks.huggingface.chat_pictures import Whole, pieces_of
from vlx.tasks.huggingface.prompting import Prompt, Prompting
from vlx.tasks.huggingface.texts import check_length, padded
from vlx.tasks.huggingface.twin import Twin, given_back
from vlx.tasks.huggingface.vision import PATCHES, besides_of, check_features, unbound, with_others

DEFAULTS = Defaults("hirescam", "logprob", "batched")


class TowerChatTask(SeeingChatTask):
    """A chat model split behind its vision tower: A is the tower's tokens on the grid of their patches, [B, D, h, w].

    Of an encoder-decoder the question is the encoder's and the answer the decoder's. A class token is in ``rest``.
    """

    attend: Any = None  # the text's rows look at latents, and
    read_out: Any = None  # the head reads latents out: neither has a place in the picture

    def __init__(self, model: nn.Module, prompting: Prompting, pictures: Whole, tower: Tower, **named: Any) -> None:
        super().__init__(model, prompting, pictures, **named)
        self.tower, self.besides, self.defaults = tower, besides_of(tower.prefix), DEFAULTS
        self._twin = Twin(model, {}, change=self._change)

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → the tower's tokens [B, D, h, w], their geometry and the class token, without a graph.

        Raises ModelError in training mode, for tokens that are no grid of patches, and for NaN.
        """
        self.refuse_training()
        with torch.inference_mode(False), torch.no_grad():
            A, others = self._split(self.model, unbound(inputs))
        check_features(A, self.name, self.layer)
        rest = {"others": others} if self.tower.prefix else None
        return Features({self.layer: A}, self.layer, self._grid(A, (inputs.shape[-2], inputs.shape[-1])), rest)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What transformers' own ``generate`` answers, without what every answer is made to begin with."""
        begun = len(self._start) - 1 if self._encodes else 0
        said = stock.caption(self.model, self.given(image, query), self.longest + begun)
        outputs = None if said.outputs is None else said.outputs[begun:]
        return Said(said.tokens[begun:], said.logprobs[begun:], outputs)

    def _looked(self, model: Any, inputs: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        return self._split(model, inputs)[0], ()

    def _split(self, model: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures → A, and the tokens that are no cells [B, prefix, D]."""
        tokens = model.get_submodule(self.layer)(inputs).last_hidden_state
        if tokens.ndim == 4:  # a map already
            return tokens, tokens[:, :0]
        others, cells = tokens[:, : self.tower.prefix], tokens[:, self.tower.prefix :]
        patch = int(self._vision.patch_size)
        h, w = (side // patch for side in inputs.shape[-2:])
        if cells.shape[1] != h * w:
            raise ModelError(
                f"{self.name}: {self.layer} gives {cells.shape[1]} tokens of {h} × {w} patches; it is no tower of "
                "patches in rows"
            )
        return cells.transpose(1, 2).reshape(len(cells), -1, h, w), others

    def _grid(self, A: Tensor, size: tuple[int, int]) -> Grid:
        """Where the tower's cells are on a prepared picture of a ``size`` (H, W), by its own convolutions."""
        patch, shape = self._vision.patch_size, (A.shape[-2], A.shape[-1])
        if isinstance(patch, int):
            return Grid(((patch - 1) / 2,) * 2, (float(patch),) * 2, shape, size, PATCHES)
        layers = zip(patch, self._vision.patch_stride, self._vision.patch_padding, strict=True)
        offset, stride = reduce(_behind, layers, (0.0, 1.0))
        return Grid((offset, offset), (stride, stride), shape, size, PATCHES)

    def _whole(self, A: Tensor, rest: Any) -> Tensor:
        """All of the tower's tokens [M, T, D]; of a tower that gives a map, A itself."""
        if self.tower.prefix:
            return with_others(A, rest, self.name)
        return A if self._maps else A.flatten(2).transpose(1, 2)

    def _before(self, question: Prompt) -> int:
        return len(self._start) if self._encodes else super()._before(question)

    def _question(self, query: Query, size: tuple[int, int], A: Tensor) -> Prompt:
        question = super()._question(query, size, A)
        check_length(len(question.tokens), self._context, "question", self.name)
        return question

    def _marks(self, question: Prompt) -> int:
        beside = dict(zip(self.prompting.beside, question.beside, strict=True))
        marked = beside.get("image_embeds_position_mask")
        return super()._marks(question) if marked is None else sum(marked)

    def _tokens(self, A: Tensor) -> int:
        if self.tower.latents:
            config: Any = self.model.config
            return int(reduce(getattr, self.tower.latents.split("."), config))
        return 1 + prod(A.shape[-2:])

    def _inputs(self, A: Tensor, runs: Sequence[Run]) -> dict[str, Any]:
        """What ``forward`` and ``generate`` take of R texts about rows of the tower's tokens."""
        own = [run.row for run in runs]
        seen = A if own == list(range(len(A))) else A[own]
        texts = [(run.question, () if self._encodes else run.answer) for run in runs]
        inputs = self._texts(texts, A.device)
        if self.tower.connector:
            return inputs | {"mm_encoder_outputs": {"image": self._connected(seen)}}
        inputs["pixel_values"] = seen
        if self._encodes:
            inputs["decoder_input_ids"] = padded([(*self._start, *run.answer) for run in runs], A.device)
        return inputs

    def _connected(self, tokens: Tensor) -> Any:
        """The tower's tokens [R, T, D] as the latents that the model takes."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        connector = self.model.get_submodule(self.tower.connector)
        latents = connector(tokens, attention_mask=tokens.new_ones(tokens.shape[:2], dtype=torch.bool))
        return BaseModelOutputWithPooling(pooler_output=latents)

    def _logits(self, A: Tensor, runs: Sequence[Run], first: int) -> Tensor:
        if not self._encodes:
            return super()._logits(A, runs, first)
        logits: Tensor = self._reader(**self._inputs(A, runs), use_cache=False).logits
        return logits[:, first:]

    @property
    def _reader(self) -> Any:
        return self.model if self.tower.connector else self._twin()

    @property
    def _writer(self) -> Any:
        return self.model.get_submodule(self.tower.writer)

    @property
    def _vision(self) -> Any:
        config: Any = self.model.config
        return config.vision_config

    @property
    def _maps(self) -> bool:
        """Whether the tower gives a map and not tokens: its patches are merged by one convolution after the other."""
        return not isinstance(self._vision.patch_size, int)

    @property
    def _encodes(self) -> bool:
        """Whether questions are read by an encoder, and answers are written by a decoder."""
        return bool(self._writer.config.is_encoder_decoder)

    @property
    def _start(self) -> tuple[int, ...]:
        """What a decoder's answer begins with: START and, of BART, a token that is always the first."""
        told = self._writer.generation_config
        tokens = (told.decoder_start_token_id, told.forced_bos_token_id)
        return tuple(int(token) for token in tokens if token is not None)

    def _change(self, copied: Any) -> None:
        """Make the twin hand on A. No END is forced: a text that is cut is not ended by the model."""
        given_back(self.layer, copied)
        copied.get_submodule(self.tower.writer).generation_config.forced_eos_token_id = None


def adapter(model: nn.Module, processor: Any, *, name: str, **named: Any) -> TowerChatTask:
    """A model of the rows with a `Tower` and its processor as a task; ``named`` as for `vlx.tasks.huggingface.chat`.

    Raises ModelError for a processor that cuts pictures into crops, and for a model on several devices.
    """
    config: Any = model.config
    family: ChatFamily = CHAT[config.model_type]
    tower = family.tower or Tower()
    places = set((getattr(model, "hf_device_map", None) or {}).values())
    if len(places) > 1 and not tower.connector:
        raise ModelError(
            f"{name} lies on {len(places)} devices, and a {family.architecture} is explained by a twin of it that has "
            "to be on one; load it with device= instead of device_map="
        )
    prompting = Prompting(processor, family, name)
    crops = max(len(pieces_of(prompting.made(Image.new("RGB", size))["pixel_values"])) for size in LARGE)
    if crops > 1:
        raise ModelError(
            f"{name}: its processor cuts a picture into {crops} crops, of which vlx makes no map for a "
            f"{family.architecture}; set processor.image_processor.do_image_splitting = False and give it to vlx.wrap"
        )
    pictures = Whole(prompting.made, processor, model)
    return TowerChatTask(model, prompting, pictures, tower, name=name, **named)


def _behind(before: tuple[float, float], layer: tuple[int, int, int]) -> tuple[float, float]:
    """Offset and stride of cells in pixels behind one more convolution (kernel, stride, padding)."""
    (offset, stride), (kernel, step, padding) = before, layer
    return offset + stride * ((kernel - 1) / 2 - padding), stride * step
