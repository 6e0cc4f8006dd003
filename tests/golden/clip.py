#!/usr/bin/env python3
"""transformers' CLIPModel beside mot-eval's.

    clip.py golden              write clip/ for tests/unit/test_clip.c and tests/cli/metrics.sh
    clip.py parity BIN          compare mot-eval in BIN with it on a random net of ViT-B/32's size, by the cosines of pairs

Needs torch, transformers, tokenizers, safetensors, numpy, Pillow.  Weights are a pure function of a tensor's name and an index, as
in vqgan.py, so that the unit test can make the same net without a file.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel
from vqgan import HERE, numbers, picture_of

TEXTS = ["A red disc on a pale ground.", "", "it's   THE dog's 2 caf\u00e9s!", "a <|endoftext|> b", "words " * 30]
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SMALL = dict(text_config=dict(hidden_size=24, intermediate_size=40, num_attention_heads=3, num_hidden_layers=2, vocab_size=400,
                              max_position_embeddings=16, hidden_act="gelu", layer_norm_eps=1e-4),
             vision_config=dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_hidden_layers=2, image_size=24,
                                patch_size=8), projection_dim=20)


def tokenizer():
    """Of CLIPTokenizerFast's parts, learned from little."""
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    # As in CLIP's vocabulary: each byte's letter, in a word and at its end, then merges, then the special ones.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {x: i for i, x in enumerate(letters)}
    merges = []
    for a, b in [("t", "h"), ("th", "e</w>"), ("r", "e"), ("re", "d</w>"), ("d", "i"), ("di", "s"), ("dis", "c</w>"), ("o", "n</w>"),
                 ("p", "a"), ("pa", "l"), ("pal", "e</w>"), ("d", "o"), ("do", "g</w>"), ("w", "or"), ("o", "r"), ("'", "s</w>")]:
        if a in vocab and (b in vocab or b.endswith("</w>") or len(b) == 1):
            if b not in vocab:
                vocab[b] = len(vocab)
            merges.append((a, b))
            vocab.setdefault(a + b, len(vocab))
    for x in letters:
        vocab.setdefault(x + "</w>", len(vocab)) if len(vocab) < 398 else None
    vocab["<|startoftext|>"], vocab["<|endoftext|>"] = 398, 399
    t.model = models.BPE(vocab=vocab, merges=merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>",
                         continuing_subword_prefix="")
    t.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", 399), ("<|startoftext|>", 398), trim_offsets=False,
                                                    add_prefix_space=False)
    return t


def fill(net):
    for name, p in net.state_dict().items():
        if p.dim() == 0 or name.endswith("position_ids"):
            continue
        x = torch.from_numpy(numbers(name, p.numel())).reshape(p.shape)
        if "embedding" in name:
            pass
        elif p.dim() > 1:
            x = x * 1.5 / float(np.float32(np.sqrt(p[0].numel())))
        elif "norm" in name and name.endswith("weight"):
            x = 1 + x / 4
        else:
            x = x / 8
        p.copy_(x)


def prepared(im, side):
    im = Image.fromarray(im)
    shorter = min(im.size)
    im = im.resize((int(side * im.width / shorter), int(side * im.height / shorter)), Image.BICUBIC)
    left, top = (im.width - side) // 2, (im.height - side) // 2
    x = np.asarray(im.crop((left, top, left + side, top + side)), np.float32) / 255
    return torch.from_numpy((x - np.float32(MEAN)) / np.float32(DEVIATION)).permute(2, 0, 1)[None]


def of_picture(net, im):
    x = net.get_image_features(pixel_values=prepared(im, net.config.vision_config.image_size))
    x = x if torch.is_tensor(x) else x.pooler_output
    return (x / x.norm())[0].double().numpy()


def of_text(net, t, text):
    most, end = net.config.text_config.max_position_embeddings, t.token_to_id("<|endoftext|>")
    ids = t.encode(text).ids
    if len(ids) > most:
        ids = ids[:most - 1] + [end]
    x = net.get_text_features(input_ids=torch.tensor([ids]))
    x = x if torch.is_tensor(x) else x.pooler_output
    return (x / x.norm())[0].double().numpy()


def make(config, t):
    config["text_config"].update(bos_token_id=t.token_to_id("<|startoftext|>"), eos_token_id=t.token_to_id("<|endoftext|>"),
                                 pad_token_id=t.token_to_id("<|endoftext|>"))
    net = CLIPModel(CLIPConfig(**config)).eval()
    fill(net)
    return net


def golden():
    folder = os.path.join(HERE, "clip")
    os.makedirs(folder, exist_ok=True)
    t = tokenizer()
    t.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    net = make(SMALL, t)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"model_type": "clip", **SMALL}, f, indent=1)
    with open(os.path.join(folder, "tensors.txt"), "w") as f:
        for k, v in net.state_dict().items():
            if v.dim() and not k.endswith("position_ids"):
                f.write(f"{k} {' '.join(map(str, v.shape))}\n")
    rows = [of_picture(net, picture_of(40)[:, :30])] + [of_text(net, t, x) for x in TEXTS]
    np.savetxt(os.path.join(folder, "golden.txt"), np.array(rows), "%.7g")
    print([t.encode(x).tokens for x in TEXTS[:4]])


def parity(bin):
    t, rng = tokenizer(), np.random.default_rng(0)
    net = make(dict(text_config=dict(vocab_size=400), vision_config={}), t)
    with tempfile.TemporaryDirectory() as folder:
        pairs = os.path.join(folder, "pairs")
        os.mkdir(pairs)
        t.save(os.path.join(folder, "tokenizer.json"))
        net.config.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, os.path.join(folder, "model.safetensors"))
        cosines = []
        for i, text in enumerate(TEXTS[:1] + TEXTS[2:]):
            im = rng.integers(0, 256, (20 + i, 15, 3)).astype(np.uint8).repeat(17, 0).repeat(17, 1)
            Image.fromarray(im).save(os.path.join(pairs, f"{i}.png"))
            with open(os.path.join(pairs, f"{i}.txt"), "w") as f:
                f.write(text)
            cosines.append(of_picture(net, im) @ of_text(net, t, text))
        out = subprocess.run([os.path.join(bin, "mot-eval"), "--json", "--clip", folder, pairs], capture_output=True, text=True,
                             check=True).stdout
    print("cosines", cosines, "mean", np.mean(cosines), "score", 100 * np.mean(np.maximum(cosines, 0)), "\nfound", out.strip())


if __name__ == "__main__":
    with torch.no_grad():
        {"golden": golden, "parity": lambda: parity(sys.argv[2])}[sys.argv[1]]()
