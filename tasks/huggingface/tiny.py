"""A tiny random model of each family of transformers, saved with its processor: to try vlx and your own code offline.

    >>> from vlx.tasks.huggingface import tiny
    >>> folder = tiny.save("blip-captioning", "blip")
    >>> vlx.load("hf:blip")

Their vision towers are random. What writes has been fitted for a moment to say captions and answers of made-up
patterns, so that it says plain words and ends; it has never seen a photo, so a map of it proves plumbing and nothing
else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.tasks.huggingface.quiet import quiet
from vlx.tasks.huggingface.tiny_fit import COUNT, STEPS, Logits, fit, saying
from vlx.tasks.huggingface.tiny_fit import questions as table
from vlx.tasks.huggingface.tiny_words import byte_pairs, captions, questions, word_pieces

SEED = 5
PATCH = 8
BLIP_MARKS = 2  # rows of BLIP's word table beyond the tokenizer: [DEC], which starts a text, and [ENC]
ANSWERS = ("yes", "no", "red", "green", "blue", "white", "one", "two", "three", "house", "boat", "tree")

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SPREAD = 0.06  # of random weights; the usual 0.02 leaves tiny models all but blind

Parts = tuple[Any, Any, Any]  # model, image processor, tokenizer


def save(family: str, folder: str | Path) -> Path:
    """Write the family's tiny model into ``folder`` as its repository on the hub holds it; returns the folder.

    ``family`` is one of `FAMILIES`. The same model every time; the caller's random state is left as it was.

    Raises InputError for another family.
    """
    if family not in _BUILDERS:
        near = close_matches(family, FAMILIES)
        hint = f"; close: {', '.join(near)}" if near else ""
        raise InputError(f"there is no tiny model of {family!r}{hint}. Known: {', '.join(FAMILIES)}")
    folder = Path(folder)
    with quiet():
        for part in build(family):
            part.save_pretrained(folder)
    return folder


def build(family: str) -> Parts:
    """The family's tiny model in eval mode, its image processor and its tokenizer."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        torch.manual_seed(SEED)
        model, processor, tokenizer = _BUILDERS[family]()
    return model.eval(), processor, tokenizer


def _blip(model_class: str, size: int) -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    vision: dict[str, Any] = {**VISION, "image_size": size, "patch_size": PATCH, "initializer_range": SPREAD}
    text: dict[str, Any] = {
        **TEXT,
        "vocab_size": len(tokenizer) + BLIP_MARKS,
        "encoder_hidden_size": VISION["hidden_size"],
    }
    text |= {"bos_token_id": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": 2}
    text |= {"sep_token_id": tokenizer.sep_token_id, "max_position_embeddings": 64, "initializer_range": SPREAD}
    text |= {"projection_dim": 16}
    config = hf.BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    processor = hf.BlipImageProcessor(size={"height": size, "width": size})
    return getattr(hf, model_class)(config).eval(), processor, tokenizer


def _blip_captioning() -> Parts:
    model, processor, tokenizer = _blip("BlipForConditionalGeneration", 48)

    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        seen = model.vision_model(pictures).last_hidden_state
        found: Tensor = model.text_decoder(input_ids=ids, encoder_hidden_states=seen, use_cache=False).logits
        return found

    fit(model, "vision_model", 48, saying(logits, tokenizer, len(tokenizer), captions()))
    return model, processor, tokenizer


def _blip_vqa() -> Parts:
    model, processor, tokenizer = _blip("BlipForQuestionAnswering", 32)

    def logits(pictures: Tensor, asked: Tensor, ids: Tensor) -> Tensor:
        seen = model.vision_model(pictures).last_hidden_state
        mask = (asked != tokenizer.pad_token_id).long()
        heard = model.text_encoder(input_ids=asked, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
        found: Tensor = model.text_decoder(
            input_ids=ids, encoder_hidden_states=heard, encoder_attention_mask=mask, use_cache=False
        ).logits
        return found

    fit(model, "vision_model", 32, saying(logits, tokenizer, len(tokenizer), questions()))
    return model, processor, tokenizer


def _blip_itm() -> Parts:
    model, processor, tokenizer = _blip("BlipForImageTextRetrieval", 40)
    texts = table(tokenizer, [captions()[n][1] for n in torch.randperm(len(captions()))[:COUNT].tolist()])
    mask, matches = (texts != tokenizer.pad_token_id).long(), torch.tensor([1] * COUNT + [0] * COUNT)

    def loss(known: Tensor, strange: Tensor) -> Tensor:
        seen = torch.cat([known, known.roll(1, 0)])
        found = model(pixel_values=seen, input_ids=texts.repeat(2, 1), attention_mask=mask.repeat(2, 1))
        return cross_entropy(found.itm_score, matches)

    fit(model, "vision_model", 40, loss, steps=2 * STEPS)
    return model, processor, tokenizer


def _vit_gpt2() -> Parts:
    import transformers as hf

    tokenizer = byte_pairs()
    end = tokenizer.eos_token_id  # start, end and padding are one token, as in the models of the hub
    decoder = hf.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        initializer_range=SPREAD,
        bos_token_id=end,
        eos_token_id=end,
    )
    encoder = hf.ViTConfig(**VISION, image_size=32, patch_size=PATCH, initializer_range=SPREAD)
    model = _encoder_decoder(encoder, decoder, start=end, end=end, padding=end)
    fit(model, "encoder", 32, saying(_forward(model), tokenizer, end, captions()))
    return model, hf.ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer


def _swin_bert() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    start, end, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    decoder = hf.BertConfig(
        **TEXT, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=padding, initializer_range=SPREAD
    )
    encoder = hf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4,
        initializer_range=SPREAD,
    )  # fmt: skip
    model = _encoder_decoder(encoder, decoder, start=start, end=end, padding=padding)
    fit(model, "encoder", 64, saying(_forward(model), tokenizer, start, captions()))
    return model, hf.ViTImageProcessor(size={"height": 64, "width": 64}), tokenizer


def _encoder_decoder(encoder: Any, decoder: Any, *, start: int, end: int, padding: int) -> Any:
    import transformers as hf

    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = start, end, padding
    model = hf.VisionEncoderDecoderModel(config=config).eval()
    model.generation_config = hf.GenerationConfig(
        decoder_start_token_id=start, bos_token_id=start, eos_token_id=end, pad_token_id=padding
    )
    return model


def _forward(model: Any) -> Logits:
    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        found: Tensor = model(pixel_values=pictures, decoder_input_ids=ids, use_cache=False).logits
        return found

    return logits


def _git() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    vision = {**VISION, "image_size": 48, "patch_size": PATCH}
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "initializer_range": SPREAD}
    text |= {"bos_token_id": start, "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id}
    model = hf.GitForCausalLM(hf.GitConfig(vision_config=vision, **text)).eval()

    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        found: Tensor = model(pixel_values=pictures, input_ids=ids, use_cache=False).logits[:, -ids.shape[1] :]
        return found

    fit(model, "git.image_encoder", 48, saying(logits, tokenizer, start, captions()))
    sizes = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    return model, hf.CLIPImageProcessor(**sizes), tokenizer


def _vilt() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    sizes = {"image_size": 32, "patch_size": PATCH, "vocab_size": len(tokenizer), "max_position_embeddings": 40}
    names = {"id2label": dict(enumerate(ANSWERS)), "label2id": {answer: n for n, answer in enumerate(ANSWERS)}}
    config = hf.ViltConfig(**{**VISION, "num_hidden_layers": 4}, **sizes, **names, initializer_range=SPREAD)
    model = hf.ViltForQuestionAnswering(config).eval()
    embeddings = model.vilt.embeddings
    for zeros in (embeddings.position_embeddings, embeddings.cls_token):
        nn.init.normal_(zeros, std=0.5)
    processor = hf.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=PATCH)
    pairs = [(question, ANSWERS.index(answer)) for question, answer in questions() if answer in ANSWERS]
    pairs = [pairs[n] for n in torch.randperm(len(pairs))[:COUNT].tolist()]
    asked, answers = table(tokenizer, [text for text, _ in pairs]), torch.tensor([answer for _, answer in pairs])
    mask = (asked != tokenizer.pad_token_id).long()

    def loss(known: Tensor, strange: Tensor) -> Tensor:
        found = [model(input_ids=asked, attention_mask=mask, pixel_values=seen).logits for seen in (known, strange)]
        return cross_entropy(torch.cat(found), answers.repeat(2))

    fit(model, "vilt.embeddings.patch_embeddings", 32, loss)
    return model, processor, tokenizer


_BUILDERS: dict[str, Callable[[], Parts]] = {
    "blip-captioning": _blip_captioning,
    "blip-vqa": _blip_vqa,
    "blip-itm": _blip_itm,
    "vit-gpt2": _vit_gpt2,
    "swin-bert": _swin_bert,
    "git": _git,
    "vilt": _vilt,
}
FAMILIES = tuple(_BUILDERS)
