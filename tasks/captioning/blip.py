"""BLIP captioners: a ViT whose tokens the words reach by cross-attention."""

from typing import Any

import torch
from torch import Tensor, nn

from vlx.protocol.task import Defaults
from vlx.tasks.huggingface.captioner import CaptionerFamily, Layers, TransformerCaptioner


def _logits(twin: Any, tokens: Tensor, ids: Tensor, attentions: bool) -> tuple[Tensor, Layers]:
    mask = tokens.new_ones(tokens.shape[:2])
    output = twin.text_decoder(
        input_ids=ids,
        attention_mask=ids.new_ones(ids.shape),
        encoder_hidden_states=tokens,
        encoder_attention_mask=mask,
        use_cache=False,
        output_attentions=attentions,
    )
    return output.logits, output.cross_attentions or ()


def _generate(twin: Any, tokens: Tensor, ids: Tensor, options: dict[str, Any]) -> Any:
    end = ids.new_full((len(ids), 1), twin.config.text_config.sep_token_id)
    text = torch.cat([ids, end], 1)  # generate writes START over the first and drops the last
    return twin.generate(
        pixel_values=tokens[:, None], input_ids=text, attention_mask=text.new_ones(text.shape), **options
    )


def _start(model: Any) -> int:
    return int(model.config.text_config.bos_token_id)


def _end(model: Any) -> tuple[int, ...]:
    return (int(model.config.text_config.sep_token_id),)


def _context(model: Any) -> int:
    return int(model.config.text_config.max_position_embeddings)


FAMILY = CaptionerFamily(
    tower="vision_model",
    prefix=1,
    start=_start,
    end=_end,
    context=_context,
    logits=_logits,
    generate=_generate,
    defaults=Defaults("gradattention", "logprob", "batched", measured=True),
)


def adapter(
    model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
) -> TransformerCaptioner:
    """A ``BlipForConditionalGeneration`` as a task."""
    return TransformerCaptioner(model, processor, tokenizer, FAMILY, name=name, revision=revision)
