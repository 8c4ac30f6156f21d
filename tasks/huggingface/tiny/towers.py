"""Tiny chat models that are explained at their tower: BLIP-2, InstructBLIP, Kosmos-2, Idefics2, Florence-2."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.texts import filled
from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION, text_sizes
from vlx.tasks.huggingface.tiny.fitting import COUNT, IGNORED, RATE
from vlx.tasks.huggingface.tiny.templates import IDEFICS
from vlx.tasks.huggingface.tiny.tokens import CONTEXT, byte_tokens, llama_tokens
from vlx.tasks.huggingface.tiny.words import chats, word_pieces

STEPS, LESSONS = 80, 4  # of learning; one lesson a step
SIDE, PATCH, LATENTS = 48, 8, 9
CPU = torch.device("cpu")
SQUARE = {"height": SIDE, "width": SIDE}
PLACED = {"image_size": SIDE, "patch_size": PATCH, "initializer_range": SPREAD}
FORMER: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FORMER |= {"encoder_hidden_size": 32, "initializer_range": SPREAD}
QUESTION = "Question: {} Answer:"

Ask = Callable[[str], str]  # a question as the processor is given it
Made = dict[str, Tensor]


def _blip2_opt() -> Any:
    import transformers as hf

    tokenizer = _opt_tokens("{bos} $A")
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=SQUARE), tokenizer, num_query_tokens=LATENTS)
    model = hf.Blip2ForConditionalGeneration(_blip2(hf.Blip2Config, _opt(tokenizer), tokenizer))
    nn.init.normal_(model.query_tokens)  # zero at construction, which makes every gradient useless
    return _taught(model, processor, "vision_model", _questions(QUESTION, ""))


def _blip2_t5() -> Any:
    import transformers as hf

    tokenizer = _opt_tokens("$A {eos}")
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=SQUARE), tokenizer, num_query_tokens=LATENTS)
    text = hf.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        decoder_start_token_id=tokenizer.pad_token_id, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    model = hf.Blip2ForConditionalGeneration(_blip2(hf.Blip2Config, text, tokenizer))
    nn.init.normal_(model.query_tokens)
    return _taught(model, processor, "vision_model", _questions(QUESTION, ""), (tokenizer.pad_token_id,))


def _instructblip() -> Any:
    import transformers as hf

    tokenizer, former = _opt_tokens("{bos} $A"), word_pieces()
    processor = hf.InstructBlipProcessor(
        hf.BlipImageProcessor(size=SQUARE), tokenizer, former, num_query_tokens=LATENTS
    )
    config = _blip2(hf.InstructBlipConfig, _opt(tokenizer), tokenizer, vocab_size=len(former))
    model = hf.InstructBlipForConditionalGeneration(config)
    nn.init.normal_(model.query_tokens)
    asked = _questions("{}", "Write a short description for the image.")
    return _taught(model, processor, "vision_model", asked)


def _kosmos2() -> Any:
    import transformers as hf

    tokenizer = llama_tokens(())
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE)
    processor = hf.Kosmos2Processor(pictures, tokenizer, num_patch_index_tokens=16)
    text = hf.models.kosmos2.configuration_kosmos2.Kosmos2TextConfig(
        vocab_size=len(tokenizer), embed_dim=32, layers=2, ffn_dim=48, attention_heads=4, init_std=SPREAD,
        max_position_embeddings=CONTEXT, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = hf.Kosmos2Config(
        text_config=text, vision_config={**VISION, **PLACED}, latent_query_num=processor.num_image_tokens
    )
    model = hf.Kosmos2ForConditionalGeneration(config)
    return _taught(model, processor, "vision_model", _questions(QUESTION, "An image of"))


def _idefics2() -> Any:
    import transformers as hf
    from transformers.models.idefics2.configuration_idefics2 import Idefics2VisionConfig

    tokenizer = llama_tokens(())
    pictures = hf.Idefics2ImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    processor = hf.Idefics2Processor(pictures, tokenizer, image_seq_len=LATENTS, chat_template=IDEFICS)
    resampler = {"resampler_n_latents": LATENTS, "resampler_depth": 2, "resampler_n_heads": 4}
    config = hf.Idefics2Config(
        vision_config=Idefics2VisionConfig(**VISION, **PLACED | {"image_size": 2 * SIDE}),
        perceiver_config=resampler | {"resampler_head_dim": 8, "num_key_value_heads": 2, "hidden_size": 32},
        text_config=hf.MistralConfig(**text_sizes(tokenizer), head_dim=8, sliding_window=None),
        image_token_id=processor.image_token_id,
    )
    model = hf.Idefics2ForConditionalGeneration(config)
    return _taught(model, processor, "model.vision_model", None)


def _florence2() -> Any:
    import transformers as hf

    marks, names = ("<s>", "<pad>", "</s>"), {"image_token": "<image>"}
    tokenizer = byte_tokens(marks, names, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    size = {"height": 128, "width": 128}
    pictures = hf.CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    pictures.image_seq_length = 17
    processor = hf.Florence2Processor(pictures, tokenizer)
    vision: dict[str, Any] = {"depths": (1, 1, 2, 1), "embed_dim": (8, 8, 16, 32), "num_heads": (2, 2, 4, 4)}
    vision |= {"num_groups": (2, 2, 4, 4), "window_size": 4, "projection_dim": 32, "initializer_range": SPREAD}
    start, padding, end = tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id
    text = hf.BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=CONTEXT,
        bos_token_id=start, pad_token_id=padding, eos_token_id=end, decoder_start_token_id=end, init_std=SPREAD,
        forced_eos_token_id=None,
    )  # fmt: skip
    config = hf.Florence2Config(vision_config=vision, text_config=text, image_token_id=tokenizer.image_token_id)
    model = hf.Florence2ForConditionalGeneration(config)
    told = {"bos_token_id": start, "pad_token_id": padding, "eos_token_id": end, "decoder_start_token_id": end}
    model.generation_config = hf.GenerationConfig(
        **told, forced_bos_token_id=start, forced_eos_token_id=end, no_repeat_ngram_size=3, num_beams=3
    )  # as Florence-2's own
    return _taught(model, processor, "model.vision_tower", _questions("{}", "<CAPTION>"), (end, start))


def _blip2(config: Any, text: Any, tokenizer: Any, **former: Any) -> Any:
    tokens = {"num_query_tokens": LATENTS, "image_token_index": tokenizer.convert_tokens_to_ids("<image>")}
    return config(vision_config={**VISION, **PLACED}, qformer_config=FORMER | former, text_config=text, **tokens)


def _opt_tokens(form: str) -> Any:
    """Byte pairs with ``<image>``, and a start or an end to every text, as OPT's and T5's tokenizers do."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokens(("<pad>", "</s>", "<image>"), bos_token="</s>", eos_token="</s>", pad_token="<pad>")
    end = ("</s>", tokenizer.eos_token_id)
    template = form.format(bos="</s>", eos="</s>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[end])
    return tokenizer


def _opt(tokenizer: Any) -> Any:
    import transformers as hf

    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    return hf.OPTConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48,
        max_position_embeddings=CONTEXT, word_embed_proj_dim=32, bos_token_id=end, eos_token_id=end,
        pad_token_id=padding, init_std=SPREAD,
    )  # fmt: skip


def _questions(form: str, describe: str) -> Ask:
    """How the questions of the lessons are put; a description is asked for as the family does it."""
    return lambda question: describe if question.startswith("Describe") else form.format(question)


def _taught(model: Any, processor: Any, fixed: str, put: Ask | None, start: Sequence[int] = ()) -> tuple[Any, Any]:
    """The model after a moment of learning in which all but its tower ``fixed`` changes, and its processor.

    ``put``: how a question is put to the processor, by default by its chat template. ``start``: what the answers of a
    decoder begin with.
    """
    model.eval().get_submodule(fixed).requires_grad_(False)
    lessons = [_lesson(processor, pictures, put, start) for pictures in _pictures()]
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=RATE)
    with torch.enable_grad():
        for step in range(STEPS):
            inputs, wanted = lessons[step % LESSONS]
            optimizer.zero_grad()
            logits = model(**inputs, use_cache=False).logits
            torch.autograd.backward(cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED))
            optimizer.step()
    optimizer.zero_grad()
    model.requires_grad_(True)
    return model, processor


def _lesson(
    processor: Any, pictures: Sequence[Image.Image], put: Ask | None, start: Sequence[int]
) -> tuple[Made, Tensor]:
    """What ``forward`` takes of pictures, questions and answers, and the ids that are to be written next."""
    tokenizer, pairs = processor.tokenizer, chats()
    asked = [
        stock.asked(processor, picture, question) if put is None else stock.worded(processor, picture, put(question))
        for picture, (question, _) in zip(pictures, pairs, strict=True)
    ]
    answers = [answer if start else f" {answer}" for _, answer in pairs]
    said = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in answers]
    rows = {name: [made[name][0].tolist() for made in asked] for name in asked[0] if name != "pixel_values"}
    begun = [list(start) or ids for ids in rows["input_ids"]]
    rows["decoder_input_ids" if start else "input_ids"] = [
        [*before, *answer[:-1]] for before, answer in zip(begun, said, strict=True)
    ]
    inputs = {name: _table(values, 0) for name, values in rows.items() if not name.startswith("pixel")}
    width = max(map(len, rows["input_ids"]))
    for name, value in inputs.items():
        if name == "attention_mask":
            inputs[name] = filled(rows["input_ids"], CPU)
        elif name == "image_embeds_position_mask":
            inputs[name] = nn.functional.pad(value, (0, width - value.shape[1]))
    inputs["pixel_values"] = torch.cat([made["pixel_values"] for made in asked])
    wanted = [[*[IGNORED] * (len(before) - 1), *answer] for before, answer in zip(begun, said, strict=True)]
    return inputs, _table(wanted, IGNORED)


def _table(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def _pictures() -> list[list[Image.Image]]:
    """For each lesson pictures of 6 × 6 squares about a colour, plain to glaring; the colour tells the answer."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (COUNT, 1, 1, 3))
    lessons = []
    for _ in range(LESSONS):
        squares = rng.integers(-128, 128, (COUNT, 6, 6, 3)) * rng.random((COUNT, 1, 1, 1))
        colors = np.clip(ground + squares, 0, 255).astype("uint8")
        lessons.append([Image.fromarray(color).resize((90, 60), Image.Resampling.NEAREST) for color in colors])
    return lessons


BUILDERS: dict[str, Callable[[], Any]] = {
    "blip2": _blip2_opt,
    "blip2_t5": _blip2_t5,
    "instructblip": _instructblip,
    "kosmos2": _kosmos2,
    "idefics2": _idefics2,
    "florence2": _florence2,
}
