"""GIT captioners: one stream of image tokens, which see each other, and words, which see all that is before them."""

from typing import Any

from torch import Tensor, nn

from vlx.protocol.task import Defaults
from vlx.tasks.huggingface.captioner import CaptionerFamily, Layers, TransformerCaptioner


def _logits(twin: Any, tokens: Tensor, ids: Tensor, attentions: bool) -> tuple[Tensor, Layers]:
    output = twin(
        pixel_values=tokens[:, None],
        input_ids=ids,
        attention_mask=ids.new_ones(ids.shape),
        use_cache=False,
        output_attentions=attentions,
    )
    return output.logits[:, -ids.shape[1] :], output.attentions or ()


def _generate(twin: Any, tokens: Tensor, ids: Tensor, options: dict[str, Any]) -> Any:
    return twin.generate(pixel_values=tokens[:, None], input_ids=ids, attention_mask=ids.new_ones(ids.shape), **options)


def _start(model: Any) -> int:
    return int(model.config.bos_token_id)


def _end(model: Any) -> tuple[int, ...]:
    return (int(model.config.eos_token_id),)


def _context(model: Any) -> int:
    return int(model.config.max_position_embeddings)


def _after_the_picture(count: int) -> int:
    return count


FAMILY = CaptionerFamily(
    tower="git.image_encoder",
    prefix=1,
    start=_start,
    end=_end,
    context=_context,
    logits=_logits,
    generate=_generate,
    first_query=_after_the_picture,
    defaults=Defaults("gradrollout", "logprob", "batched", measured=True),
)


def adapter(
    model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
) -> TransformerCaptioner:
    """A ``GitForCausalLM`` as a task."""
    return TransformerCaptioner(model, processor, tokenizer, FAMILY, name=name, revision=revision)
