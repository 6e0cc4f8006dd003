#!/usr/bin/env python3
"""Units of `transformers`' HubertModel and k-means centres, beside mot-tokenize's.

    hubert.py golden            write hubert/ for tests/unit/test_nets.c
    hubert.py parity BIN [FULL] compare mot-tokenize in BIN with it on random nets; FULL: of hubert-base's size

Needs torch, transformers, safetensors, numpy.  Weights are made of names, as in vqgan.py.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel

HERE = os.path.dirname(os.path.abspath(__file__))


def fnv(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & (2 ** 64 - 1)
    return h


def numbers(name, n):
    """As in vqgan.py."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(48)).astype(np.float32) - 32768) / 32768


OLD = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def spelled(name, old):
    for new, was in OLD.items():
        name = name.replace(new, was) if old else name
    return name


def weights_of_name(net, old):
    for name, p in net.state_dict().items():
        name = spelled(name, old)
        x = torch.from_numpy(numbers(name, p.numel())).reshape(p.shape)
        if p.dim() > 1:
            x = x * 1.5 / float(np.float32(np.sqrt(p[0].numel())))
        elif "norm" in name and name.endswith("weight"):
            x = 1 + x / 4
        elif p.dim() == 1:
            x = x / 8
        p.copy_(x)


def config_of(stable, **more):
    c = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, conv_dim=[24] * 7,
             num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, do_stable_layer_norm=stable,
             feat_extract_norm="layer" if stable else "group", conv_bias=stable, apply_spec_augment=False)
    c.update(more)
    return HubertConfig(**c, attn_implementation="eager")


def sound(seconds, seed=0):
    """A few gliding tones and noise, of 16 bits."""
    n = int(16000 * seconds)
    t = np.arange(n) / 16000
    x = sum(np.sin(2 * np.pi * f * t * (1 + 0.1 * t)) for f in (120 + 10 * seed, 440, 1900)) * (1 + np.sin(5 * t)) / 8
    x += numbers("noise %d" % seed, n) * 0.1 * (np.sin(2 * t) > 0)
    return np.clip(np.round(x * 12000), -32768, 32767).astype(np.int16)


def write_wav(path, pcm, rate=16000):
    data = pcm.tobytes()
    with open(path, "wb") as f:
        f.write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
                + b"data" + struct.pack("<I", len(data)) + data)


def features(net, pcm, normalize, layer):
    x = pcm.astype(np.float32) / 32768
    if normalize:
        x = ((x - x.mean()) / np.sqrt(x.var() + 1e-7)).astype(np.float32)
    with torch.no_grad():
        out = net(torch.from_numpy(x)[None], output_hidden_states=True)
    return (out.last_hidden_state if layer is None else out.hidden_states[layer])[0]


def units_of(f, centres):
    d = (f ** 2).sum(1, keepdim=True) + (centres ** 2).sum(1) - 2 * f @ centres.t()
    two = torch.topk(d, 2, largest=False).values
    return d.argmin(1).tolist(), float(((two[:, 1] - two[:, 0]) / two[:, 0]).min())


def build(config, old):
    net = HubertModel(config).eval()
    with torch.no_grad():
        weights_of_name(net, old)
    return net


def centres_of(f, k):
    """Spread over the features, but none of them."""
    with torch.no_grad():
        i = (torch.arange(k) * f.shape[0]) // k
        e = torch.from_numpy(numbers("centroids", k * f.shape[1])).reshape(k, -1)
        return f[i] + e * f.std(0) * 0.5


def golden():
    os.makedirs(os.path.join(HERE, "hubert"), exist_ok=True)
    for name, stable, old, layer in (("group", False, True, 2), ("layer", True, False, None)):
        net = build(config_of(stable), old)
        pcm = sound(1.5)
        f = features(net, pcm, True, layer)
        centres = centres_of(f, 20).contiguous()
        units, margin = units_of(f, centres)
        print(name, len(units), len(set(units)), margin)
        save_file({"units": torch.tensor(units, dtype=torch.int32), "features": f.contiguous(), "centres": centres,
                   "pcm": torch.from_numpy(pcm)}, os.path.join(HERE, "hubert", name + ".safetensors"))
        with open(os.path.join(HERE, "hubert", name + ".txt"), "w") as out:
            out.writelines(f"{spelled(k, old)} {' '.join(map(str, v.shape))}\n" for k, v in net.state_dict().items())


def run(*args):
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(args)}: {r.stderr}")
    return r.stdout


def compare(binary, name, config, old, layer, seconds, prefix="", normalize=True, units=100):
    net = build(config, old)
    pcm = sound(seconds, 1)
    f = features(net, pcm, normalize, layer)
    centres = centres_of(f, units).contiguous()
    expected, margin = units_of(f, centres)
    with tempfile.TemporaryDirectory() as t:
        save_file({prefix + spelled(k, old): v.contiguous() for k, v in net.state_dict().items()}, f"{t}/model.safetensors")
        save_file({"k": centres}, f"{t}/k.safetensors")
        config.save_pretrained(t)
        with open(f"{t}/preprocessor_config.json", "w") as out:
            json.dump({"do_normalize": normalize, "sampling_rate": 16000}, out)
        write_wav(f"{t}/a.wav", pcm)
        with open(f"{t}/b.txt", "w") as out:
            out.write("hello\n")
        run(f"{binary}/mot-tokenize", "-q", "--learn", "text=300", "-t", f"{t}/tok", "--speech-codec",
            f"hubert:{t}/model.safetensors,units={t}/k.safetensors" + ("" if layer is None else f",layer={layer}"), f"{t}/b.txt")
        run(f"{binary}/mot-tokenize", "-q", "-t", f"{t}/tok", "-o", f"{t}/a.mot", f"{t}/a.wav")
        first = {m["name"]: m["first"] for m in json.load(open(f"{t}/tok/vocab.json"))["modalities"]}["speech"]
        doc = json.loads(run(f"{binary}/mot-tokenize", "--dump", f"{t}/a.mot"))
        found = [i - first for s in doc["segments"] if s["modality"] == "speech" for i in s["ids"]]
    bad = sum(a != b for a, b in zip(found, expected)) + abs(len(found) - len(expected))
    print(f"{name}: {len(expected)} units, {len(set(expected))} different, {bad} wrong (nearest tie {margin:.1e})", flush=True)
    return bad == 0


def parity(binary, full):
    ok = compare(binary, "small, group norm, weight_g", config_of(False), True, 2, 3)
    ok &= compare(binary, "small, layer norm first, parametrizations", config_of(True), False, 3, 3, "hubert.")
    ok &= compare(binary, "small, layer norm first, what the encoder gives", config_of(True), False, None, 3, "hubert.")
    ok &= compare(binary, "small, a layer before the last, no normalising", config_of(True), False, 1, 3, "wav2vec2.", False)
    ok &= compare(binary, "small, no norm before the projection", config_of(False, feat_proj_layer_norm=False), False, 0, 3)
    ok &= compare(binary, "small, 90 seconds", config_of(False), False, 3, 90)
    if full:
        ok &= compare(binary, "hubert-base", HubertConfig(apply_spec_augment=False, attn_implementation="eager"), True, 9, 10,
                      "hubert.", True, 500)
    sys.exit(not ok)


if sys.argv[1] == "golden":
    golden()
else:
    parity(sys.argv[2], len(sys.argv) > 3)
