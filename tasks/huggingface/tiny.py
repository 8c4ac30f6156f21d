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

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.tasks.huggingface.quiet import quiet
from vlx.tasks.huggingface.tiny_words import byte_pairs, captions, questions, word_pieces

SEED = 5
PATCH = 8
PATTERNS, STEPS = 24, 120  # pictures that a decoder is fitted to, and steps of that
BLIP_MARKS = 2  # rows of BLIP's word table beyond the tokenizer: [DEC], which starts a text, and [ENC]
ANSWERS = ("yes", "no", "red", "green", "blue", "white", "one", "two", "three", "house", "boat", "tree")

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SPREAD = 0.06  # of random weights; the usual 0.02 leaves tiny models all but blind
COLOURS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}

Parts = tuple[Any, Any, Any]  # model, image processor, tokenizer
Logits = Callable[[Tensor, Tensor, Tensor], Tensor]  # pictures [N, 3, H, W], questions [N, Q], ids [N, L] → [N, L, V]


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
    return model.requires_grad_(True).eval(), processor, tokenizer


def _blip(model_class: str, size: int) -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    vision = {**VISION, "image_size": size, "patch_size": PATCH, "initializer_range": SPREAD}
    text = {**TEXT, "vocab_size": len(tokenizer) + BLIP_MARKS, "encoder_hidden_size": VISION["hidden_size"]}
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

    _fit(model, "vision_model", logits, tokenizer, len(tokenizer), captions())
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

    _fit(model, "vision_model", logits, tokenizer, len(tokenizer), questions())
    return model, processor, tokenizer


def _blip_itm() -> Parts:
    model, processor, tokenizer = _blip("BlipForImageTextRetrieval", 40)
    return _sharpened(model), processor, tokenizer


def _vit_gpt2() -> Parts:
    import transformers as hf

    tokenizer = byte_pairs()
    end = tokenizer.eos_token_id  # start, end and padding are one token, as in the models of the hub
    decoder = hf.GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=end, eos_token_id=end
    )
    encoder = hf.ViTConfig(**VISION, image_size=32, patch_size=PATCH, initializer_range=SPREAD)
    model = _encoder_decoder(encoder, decoder, start=end, end=end, padding=end)
    _fit(model, "encoder", _forward(model), tokenizer, end, captions())
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
    _fit(model, "encoder", _forward(model), tokenizer, start, captions())
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

    _fit(model, "git.image_encoder", logits, tokenizer, start, captions())
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
    return _sharpened(model), processor, tokenizer


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


def _sharpened(model: Any) -> Any:
    """Twice the weights of matrices, so that a random model's answers differ from picture to picture."""
    for weight in model.parameters():
        if weight.dim() >= 2:
            weight.data.mul_(2.0)
    return model


def _fit(model: Any, tower: str, logits: Logits, tokenizer: Any, start: int, texts: list[Any]) -> None:
    """Teach all but the tower some of the texts (or pairs question, answer), each with a pattern of colours."""
    chosen = [texts[n] for n in torch.randperm(len(texts))[:PATTERNS].tolist()]
    pairs = [text if isinstance(text, tuple) else ("", text) for text in chosen]
    asked = _table([tokenizer(question)["input_ids"] for question, _ in pairs], tokenizer.pad_token_id)
    said = [tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in pairs]
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    ids = _table([[start, *text] for text in said], tokenizer.pad_token_id)
    wanted = _table([[*text, end] for text in said], -100)
    pictures = _patterns(len(pairs), _side(model))
    model.get_submodule(tower).requires_grad_(False)
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    with torch.enable_grad():
        for _ in range(STEPS):
            loss = nn.functional.cross_entropy(logits(pictures, asked, ids).flatten(0, 1), wanted.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    optimizer.zero_grad()


def _patterns(count: int, side: int) -> Tensor:
    """Pictures of random 4 × 4 squares of colour, as a processor gives them, [N, 3, side, side]."""
    squares = torch.randn(count, 3, 4, 4)
    return nn.functional.interpolate(squares, size=(side, side), mode="nearest")


def _side(model: Any) -> int:
    vision = getattr(model.config, "vision_config", None) or model.config.encoder
    return int(vision.image_size)


def _table(rows: list[list[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
