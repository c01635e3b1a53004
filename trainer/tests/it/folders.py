"""Makes model folders as people have them, and says what transformers does with each: usage `folders.py FOLDER`.

Writes FOLDER/NAME for every kind, the pictures FOLDER/*.png, and FOLDER/expected.json: by name, either the captions that `generate`
without arguments writes for the pictures, or the words of a refusal where the trainer cannot do what the folder asks for.
"""
import copy
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, GPT2Config, GPT2Tokenizer, ViTConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

torch.set_num_threads(1)
out = pathlib.Path(sys.argv[1])
here = pathlib.Path(__file__).parent
expected = {}
START, END, PAD = 2, 3, 0
SIZE = 32
BASE_SEED = 15  # one whose captions are long and differ

random = np.random.default_rng(7)
pictures = []
for n, side in enumerate([(32, 32), (32, 32), (47, 80)]):
    levels = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((12, 12, 1)))[: side[1], : side[0]]
    pictures.append(Image.fromarray((levels * 0.8 + random.integers(0, 50, levels.shape)).astype(np.uint8)))
    pictures[-1].save(out / f"{n}.png")


def new(seed=0, vocab_size=91, encoder={}, decoder={}):
    """A model whose captions differ: wide weights, biases that are not zero."""
    torch.manual_seed(seed)
    vit = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=SIZE, patch_size=8)
    gpt2 = dict(vocab_size=vocab_size, n_positions=40, n_embd=48, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**{**vit, **encoder}), GPT2Config(**{**gpt2, **decoder}))
    model = VisionEncoderDecoderModel(config)
    for p in model.parameters():
        p.data = p.data + torch.randn_like(p) * 0.25
    model.config.decoder_start_token_id, model.config.eos_token_id, model.config.pad_token_id = START, END, PAD
    return model.eval()


def save(name, model, tokenizer=True):
    folder = out / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write(folder, "generation_config.json", {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": PAD})
    write(folder, "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", "size": {"height": SIZE, "width": SIZE},
          "resample": 2, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
          "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    if tokenizer:
        shutil.copy(here / "tokenizer.json", folder)
        write(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]"})
    return folder


def write(folder, file, value):
    (folder / file).write_text(json.dumps(value))


def edit(folder, file, change):
    value = json.loads((folder / file).read_text())
    change(value)
    write(folder, file, value)


def caption(tokenizer, ids):
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
    return "".join(c for i, c in enumerate(text) if c != " " or (text[i - 1].isascii() and text[i + 1].isascii()))


def equal(folder, processor=None, tokenizer=None):
    """Transformers' captions are expected."""
    model = VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = processor or ViTImageProcessorPil.from_pretrained(folder)
    tokenizer = tokenizer or AutoTokenizer.from_pretrained(folder)
    captions = []
    for picture in pictures:
        pixels = torch.tensor(np.stack(processor(picture)["pixel_values"])).float()
        captions.append(caption(tokenizer, model.generate(pixels)[0].tolist()))
    expected[folder.name] = {"captions": captions}


def refused(folder, words):
    expected[folder.name] = {"refused": words}


base_model = new(BASE_SEED)
base = save("plain", base_model)
equal(base)
# Tokens that the model says soon: as ends of its own they make another caption.
processor = ViTImageProcessorPil.from_pretrained(base)
pixels = torch.tensor(np.stack([processor(picture)["pixel_values"][0] for picture in pictures])).float()
said = base_model.generate(pixels, max_length=9, decoder_start_token_id=START, eos_token_id=END).tolist()
OTHER, *MORE = dict.fromkeys(ids[3] for ids in said)


def changed(name):
    return pathlib.Path(shutil.copytree(base, out / name))


# What generation_config.json says.
ids = {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
for name, values in {
    "end-of-its-own": {**ids, "eos_token_id": OTHER},
    "several-ends": {**ids, "eos_token_id": [END, OTHER, *MORE]},
    "several-ends-beams": {**ids, "eos_token_id": [END, OTHER, *MORE], "num_beams": 4, "min_length": 4},
    "unreachable-end": {**ids, "eos_token_id": 50_256, "pad_token_id": 50_256, "min_length": 4},
    "unreachable-ends-beams": {**ids, "eos_token_id": [END, 50_256], "num_beams": 3},
    "start-of-its-own": {**ids, "decoder_start_token_id": 9},
    "bos-alone": {"bos_token_id": 9, "eos_token_id": END},
    "no-end": {"decoder_start_token_id": START},
    "no-end-beams": {"decoder_start_token_id": START, "num_beams": 3, "max_length": 9},
    "beams": {**ids, "num_beams": 4, "max_length": 12, "length_penalty": 2, "early_stopping": True},
    "new-tokens": {**ids, "max_new_tokens": 7, "max_length": 30, "min_new_tokens": 5},
    "penalties": {**ids, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "max_length": 25},
    "draws-that-are-off": {**ids, "typical_p": 0.5, "temperature": 0.1, "top_k": 3, "do_sample": False},
    "draws-at-zero": {**ids, "temperature": 0.0, "top_p": 0.0},
    "encoder-penalties": {**ids, "encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.3},
    "neutral-values": {**ids, "num_beam_groups": 1, "diversity_penalty": 0.0, "suppress_tokens": [], "bad_words_ids": None},
    "other-keys": {**ids, "something": 3, "cache_implementation": "dynamic", "num_return_sequences": 1},
}.items():
    folder = changed(name)
    write(folder, "generation_config.json", values)
    equal(folder)
for name, values, words in [
    ("forced-end", {"forced_eos_token_id": 3}, "forced_eos_token_id = 3"),
    ("suppressed", {"suppress_tokens": [5]}, "suppress_tokens = [5]"),
    ("bad-words", {"bad_words_ids": [[5, 6]]}, "bad_words_ids"),
    ("groups", {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 0.3}, "num_beam_groups = 2"),
    ("typical-draws", {"do_sample": True, "typical_p": 0.5}, "typical_p = 0.5"),
    ("no-start", {"decoder_start_token_id": None}, "expected `decoder_start_token_id` or `bos_token_id`"),
]:
    folder = changed(name)
    edit(folder, "generation_config.json", lambda c: c.update(values))
    refused(folder, words)

# Where only config.json says it.
for name, root, decoder in [
    ("config-alone", {"decoder_start_token_id": 9, "eos_token_id": [END, OTHER], "max_length": 11, "num_beams": 3}, {}),
    ("decoder-alone", {"decoder_start_token_id": None, "eos_token_id": None, "pad_token_id": None},
     {"bos_token_id": 9, "eos_token_id": OTHER, "pad_token_id": OTHER, "max_length": 20, "task_specific_params": {"x": {"max_length": 50}}}),
    ("root-and-decoder", {"decoder_start_token_id": 9, "max_length": 15}, {"max_length": 20, "num_beams": 3, "eos_token_id": OTHER}),
]:
    folder = changed(name)
    (folder / "generation_config.json").unlink()
    edit(folder, "config.json", lambda c: (c.update(root), c["decoder"].update(decoder)))
    equal(folder)
# What version 4.1x wrote of each half, whatever it was, as in nlpconnect/vit-gpt2-image-captioning.
legacy = {
    "_name_or_path": "", "bad_words_ids": None, "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None, "decoder_start_token_id": START,
    "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False, "encoder_no_repeat_ngram_size": 0, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "id2label": {"0": "LABEL_0"}, "is_encoder_decoder": False, "length_penalty": 1.0,
    "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_scores": False, "pad_token_id": END, "prefix": None, "pruned_heads": {}, "remove_invalid_values": False, "repetition_penalty": 1.0,
    "return_dict": True, "return_dict_in_generate": False, "sep_token_id": None, "temperature": 1.0, "tie_encoder_decoder": False,
    "tokenizer_class": None, "top_k": 50, "top_p": 1.0, "torch_dtype": None, "torchscript": False, "typical_p": 1.0, "use_bfloat16": False,
}
folder = changed("version-4")
(folder / "generation_config.json").unlink()
edit(folder, "config.json", lambda c: (c["encoder"].update(legacy), c["decoder"].update(legacy, n_ctx=40, gradient_checkpointing=False)))
edit(folder, "preprocessor_config.json", lambda c: (c.clear(), c.update(do_normalize=True, do_resize=True, size=SIZE, resample=2,
     feature_extractor_type="ViTFeatureExtractor", image_mean=[0.5] * 3, image_std=[0.5] * 3)))
equal(folder)
folder = changed("no-start-anywhere")
(folder / "generation_config.json").unlink()
edit(folder, "config.json", lambda c: c.pop("decoder_start_token_id"))
refused(folder, "expected `decoder_start_token_id` or `bos_token_id`")

# Pictures.
for name, values in {
    "bicubic": {"resample": 3},
    "lanczos": {"resample": 1},
    "not-normalised": {"do_normalize": False},
    "not-rescaled": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "factor": {"rescale_factor": 1 / 127.5},
    "imagenet": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "size-as-number": {"size": SIZE},
    "feature-extractor": {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor", "size": SIZE},
    "crop-that-is-off": {"crop_size": {"height": 20, "width": 20}, "do_center_crop": False},
    "extra-keys": {"do_convert_rgb": True, "processor_class": "X"},
}.items():
    folder = changed(name)
    edit(folder, "preprocessor_config.json", lambda c: (c.update(values), [c.pop(k) for k in list(c) if c[k] is None]))
    equal(folder)
folder = changed("few-keys")
write(folder, "preprocessor_config.json", {"size": SIZE})
equal(folder)
folder = changed("no-preprocessor")
(folder / "preprocessor_config.json").unlink()
equal(folder, ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}))
folder = changed("nested-processor")
(folder / "preprocessor_config.json").unlink()
write(folder, "processor_config.json", {"image_processor": {"size": SIZE, "resample": 3, "image_mean": [0.4] * 3}, "processor_class": "X"})
equal(folder)
for name, values, words in [
    ("nearest", {"resample": 0}, "resample: expected 1 (Lanczos), 2 (bilinear) or 3 (bicubic), found 0"),
    ("other-size", {"size": 48}, "size: expected 32, as the encoder's image_size, found 48"),
    ("shortest-edge", {"size": {"shortest_edge": SIZE}}, "size: expected the height and width of a square"),
    ("no-resize", {"do_resize": False}, "do_resize: expected true, found false"),
    ("crop", {"do_center_crop": True, "crop_size": 24}, "do_center_crop"),
    ("clip", {"image_processor_type": "CLIPImageProcessor"}, "expected ViTImageProcessor, found CLIPImageProcessor"),
    ("hybrid", {"image_processor_type": "ViTHybridImageProcessor"}, "expected ViTImageProcessor, found ViTHybridImageProcessor"),
]:
    folder = changed(name)
    edit(folder, "preprocessor_config.json", lambda c: c.update(values))
    refused(folder, words)

# Sizes and layers.
for n, (name, encoder, decoder) in enumerate([
    ("quick-gelu", {"hidden_act": "quick_gelu"}, {"activation_function": "gelu_fast"}),
    ("swish", {"hidden_act": "swish"}, {"activation_function": "tanh"}),
    ("gelu-python", {"hidden_act": "gelu_python"}, {"activation_function": "gelu_accurate"}),
    ("untied", {}, {"tie_word_embeddings": False}),
    ("norms", {"layer_norm_eps": 1e-3, "qkv_bias": False}, {"layer_norm_epsilon": 1e-2, "n_inner": 40}),
    ("scales", {"hidden_size": 48}, {"scale_attn_by_inverse_layer_idx": True}),
    ("unscaled", {}, {"scale_attn_weights": False, "reorder_and_upcast_attn": True}),
    ("pooler", {"pooler_output_size": 20}, {}),
]):
    equal(save(name, new(n + 1, encoder=encoder, decoder=decoder)))
folder = changed("aliases")
names = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_positions": "max_position_embeddings"}
edit(folder, "config.json", lambda c: [c["decoder"].__setitem__(new, c["decoder"].pop(old)) for old, new in names.items()])
equal(folder)
folder = changed("sides-as-lists")
edit(folder, "config.json", lambda c: c["encoder"].update(image_size=[SIZE, SIZE], patch_size=[8, 8]))
equal(folder)
folder = changed("nulls")
edit(folder, "config.json", lambda c: (c["decoder"].update(n_inner=None, bos_token_id=None), c["encoder"].update(pooler_output_size=None)))
equal(folder)
for name, change, words in [
    ("mish", lambda c: c["encoder"].update(hidden_act="mish"), "vit.hidden_act: not supported: unknown variant `mish`"),
    ("deit", lambda c: c["encoder"].update(model_type="deit"), "expected model_type vit, found deit"),
    ("bert", lambda c: c["decoder"].update(model_type="bert"), "expected model_type gpt2, found bert"),
    ("clip-model", lambda c: c.update(model_type="clip"), "expected model_type vision-encoder-decoder, found clip"),
    ("blind", lambda c: c["decoder"].update(add_cross_attention=False), "decoder.add_cross_attention: expected true, found false"),
    ("quantised", lambda c: c.update(quantization_config={"bits": 4}), "quantization_config"),
    ("grey", lambda c: c["encoder"].update(num_channels=1), "num_channels: expected 3, found 1"),
    ("oblong", lambda c: c["encoder"].update(image_size=[32, 64]), "vit.image_size: expected a square"),
    ("pruned", lambda c: c["decoder"].update(pruned_heads={"0": [1]}), "gpt2.pruned_heads"),
]:
    folder = changed(name)
    edit(folder, "config.json", change)
    refused(folder, words)

# Weights.
weights = load_file(base / "model.safetensors")
for name, change in {
    "half": lambda w: {k: v.half() for k, v in w.items()},
    "bfloat16": lambda w: {k: v.bfloat16() for k, v in w.items()},
    "double": lambda w: {k: v.double() for k, v in w.items()},
    "head-alone": lambda w: {k.replace("transformer.wte", "lm_head"): v for k, v in w.items()},
    "mask-token": lambda w: {**w, "encoder.embeddings.mask_token": torch.zeros(1, 1, 32)},
    "masks": lambda w: {**w, **{f"decoder.transformer.h.{i}.{a}.masked_bias": torch.tensor(-1e4) for i in (0, 1) for a in ("attn", "crossattention")},
                        **{f"decoder.transformer.h.{i}.attn.bias": torch.ones(1, 1, 40, 40, dtype=torch.uint8) for i in (0, 1)}},
}.items():
    folder = changed(name)
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})
    equal(folder)
    if name == "masks":
        folder = changed("masks-pickled")
        (folder / "model.safetensors").unlink()
        tensors = change(weights)
        tensors["decoder.lm_head.weight"] = tensors["decoder.transformer.wte.weight"]
        torch.save(tensors, folder / "pytorch_model.bin")
        equal(folder)
        folder = pathlib.Path(shutil.copytree(folder, out / "pickled-with-an-old-index"))
        write(folder, "pytorch_model.bin.index.json", {"weight_map": {name: "gone.bin" for name in tensors}})
        equal(folder)
        folder = changed("pickled-before-1.6")
        (folder / "model.safetensors").unlink()
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        refused(folder, "expected what torch.save writes since PyTorch 1.6")
folder = changed("sharded")
(folder / "model.safetensors").unlink()
base_model.save_pretrained(folder, max_shard_size="40KB")
shutil.copy(base / "generation_config.json", folder)
equal(folder)
for name, change, words in [
    ("another-head", lambda w: w.update({"decoder.lm_head.weight": torch.zeros(91, 48)}), "decoder.lm_head.weight: expected decoder.transformer.wte.weight"),
    ("missing-tensor", lambda w: w.pop("decoder.transformer.h.0.crossattention.c_attn.weight"), "crossattention.c_attn.weight: missing"),
]:
    folder = changed(name)
    tensors = copy.copy(weights)
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, words)
folder = changed("no-weights")
(folder / "model.safetensors").unlink()
refused(folder, "expected one of model.safetensors")
folder = changed("pointer")
(folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
refused(folder, "found a pointer of Git LFS")

# Tokenizers.
bert = Tokenizer.from_file(str(here / "tokenizer.json"))
vocab = [token for token, _ in sorted(bert.get_vocab().items(), key=lambda pair: pair[1])]
folder = changed("vocabulary-alone")
(folder / "tokenizer.json").unlink()
(folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
equal(folder, tokenizer=AutoTokenizer.from_pretrained(base))
# A tokenizer whose files do not say which tokens begin and end a caption: the model knows.
folder = changed("names-of-its-own")
text = (folder / "tokenizer.json").read_text().replace("[CLS]", "<begin>").replace("[SEP]", "<stop>")
(folder / "tokenizer.json").write_text(text)
write(folder, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
equal(folder)
folder = changed("no-tokenizer")
(folder / "tokenizer.json").unlink()
refused(folder, "expected a tokenizer (tokenizer.json, vocab.json and merges.txt, or vocab.txt)")

alphabet = list(map(chr, [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]))
bpe = {token: i for i, token in enumerate([*alphabet, "he", "Ġa", "her", "<|endoftext|>"])}
merges = "#version: 0.2\nh e\nĠ a\nhe r\n"
gpt2 = save("bpe-alone", new(20, vocab_size=len(bpe)), tokenizer=False)
end = bpe["<|endoftext|>"]
write(gpt2, "generation_config.json", {"decoder_start_token_id": end, "eos_token_id": end, "pad_token_id": end, "max_length": 12})
edit(gpt2, "config.json", lambda c: c.update(decoder_start_token_id=end, eos_token_id=end, pad_token_id=end))
write(gpt2, "vocab.json", bpe)
(gpt2 / "merges.txt").write_text(merges)
gpt2_tokenizer = GPT2Tokenizer(vocab=bpe, merges=[tuple(line.split()) for line in merges.splitlines()[1:]])
equal(gpt2, tokenizer=gpt2_tokenizer)
# Tokens beside the vocabulary, which the model says; a class whose tokenizer is another one.
folder = save("bpe-with-added-tokens", new(27, vocab_size=len(bpe) + 2), tokenizer=False)
for file in ("generation_config.json", "vocab.json", "merges.txt"):
    shutil.copy(gpt2 / file, folder)
edit(folder, "config.json", lambda c: c.update(decoder_start_token_id=end, eos_token_id=end, pad_token_id=end))
write(folder, "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})
write(folder, "added_tokens.json", {"<two>": len(bpe) + 1, "<one>": len(bpe)})
equal(folder)
folder = pathlib.Path(shutil.copytree(gpt2, out / "bpe-of-clip"))
write(folder, "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer"})
refused(folder, "tokenizer_class: expected GPT2Tokenizer, GPT2TokenizerFast, found CLIPTokenizer")
# An end token that the tokenizer's file does not call special, but the files beside it do.
folder = pathlib.Path(shutil.copytree(gpt2, out / "end-named-beside"))
for file in ("vocab.json", "merges.txt"):
    (folder / file).unlink()
plain = Tokenizer.from_str(gpt2_tokenizer.backend_tokenizer.to_str())
value = json.loads(plain.to_str())
value["added_tokens"] = []
write(folder, "tokenizer.json", value)
write(folder, "special_tokens_map.json", {"eos_token": "<|endoftext|>", "bos_token": {"content": "<|endoftext|>"}})
equal(folder, tokenizer=gpt2_tokenizer)

(out / "expected.json").write_text(json.dumps(expected, ensure_ascii=False))
print(len(expected))
