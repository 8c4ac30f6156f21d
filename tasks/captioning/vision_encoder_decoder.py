"""VisionEncoderDecoder captioners: a ViT or Swin whose tokens GPT-2, BERT or another decoder attends to."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.receptive_fields import Tracer
from vlx.protocol.task import Defaults
from vlx.tasks.huggingface.captioner import CaptionerFamily, Layers, TransformerCaptioner
from vlx.tasks.huggingface.vision import prepared

# Tokens before the patches, registers (config.num_register_tokens) not counted; others are found by trying.
CLASS_TOKENS = {"swin": 0, "swinv2": 0, "donut-swin": 0, "vit": 1, "deit": 2, "beit": 1, "dinov2": 1}
CLASS_TOKENS |= {"dinov2_with_registers": 1, "dinov3_vit": 1}
AFTER_PADDING = ("roberta", "camembert", "xlm-roberta", "xlm-roberta-xl")  # count places from their padding's number
EXAMPLE = (256, 256)  # pixels of a picture on which an encoder is tried
CONTEXTS = ("max_position_embeddings", "n_positions")


def _outputs(tokens: Tensor) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=tokens)


def _logits(twin: Any, tokens: Tensor, ids: Tensor, attentions: bool) -> tuple[Tensor, Layers]:
    output = twin(
        encoder_outputs=_outputs(tokens),
        decoder_input_ids=ids,
        decoder_attention_mask=ids.new_ones(ids.shape),
        use_cache=False,
        output_attentions=attentions,
    )
    return output.logits, output.cross_attentions or ()


def _generate(twin: Any, tokens: Tensor, ids: Tensor, options: dict[str, Any]) -> Any:
    return twin.generate(pixel_values=tokens[:, None], decoder_input_ids=ids, **options)


def _first(*values: int | None) -> int:
    found = next((value for value in values if value is not None), None)
    if found is None:
        raise ModelError("the model's configuration names no decoder_start_token_id; set it as the model's card says")
    return found


def _start(model: Any) -> int:
    return _first(
        model.generation_config.decoder_start_token_id,
        getattr(model.config, "decoder_start_token_id", None),
        model.config.decoder.bos_token_id,
    )


def _end(model: Any) -> tuple[int, ...]:
    configs = (model.generation_config, model.config, model.config.decoder)
    ends = (getattr(config, "eos_token_id", None) for config in configs)
    found = next((end for end in ends if end is not None), ())
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def _context(model: Any) -> int:
    config = model.config.decoder
    places = int(next((getattr(config, name) for name in CONTEXTS if hasattr(config, name)), 512))
    return places - config.pad_token_id - 1 if config.model_type in AFTER_PADDING else places


def _prefix(model: Any, processor: Any, name: str) -> int:
    """How many tokens of the encoder come before its patches: as its kind has them, or found by trying."""
    config = model.config.encoder
    if config.model_type in CLASS_TOKENS:
        return CLASS_TOKENS[config.model_type] + int(getattr(config, "num_register_tokens", 0) or 0)
    weights = next(model.encoder.parameters())
    example = prepared(processor, Image.new("RGB", EXAMPLE, (128, 128, 128)))[None].to(weights.device, weights.dtype)
    tracer = Tracer()
    try:
        with torch.inference_mode(False), torch.no_grad():
            laid = tracer.lay(lambda pictures: model.encoder(pictures).last_hidden_state, example)
    except ModelError as error:
        raise ModelError(f"{name}: its encoder is of type {config.model_type!r}; {error}") from None
    layout = tracer.layout(laid.A)
    if (layout.batch, layout.units, layout.places, layout.after) != (0, 2, (1,), 0) or layout.columns:
        raise ModelError(
            f"{name}: its encoder, of type {config.model_type!r}, gives {layout.told()}; needed are patches, row by row"
        )
    return layout.before


def adapter(
    model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
) -> TransformerCaptioner:
    """A ``VisionEncoderDecoderModel`` as a task.

    Raises ModelError for an encoder whose tokens are not seen to lie on a grid, and for a decoder without
    cross-attention.
    """
    family = CaptionerFamily(
        tower="encoder",
        prefix=_prefix(model, processor, name),
        start=_start,
        end=_end,
        context=_context,
        logits=_logits,
        generate=_generate,
        defaults=Defaults("gradattention", "logprob", "batched", measured=True),
        eager="decoder",
    )
    return TransformerCaptioner(model, processor, tokenizer, family, name=name, revision=revision)
