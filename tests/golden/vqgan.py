#!/usr/bin/env python3
"""A VQGAN in PyTorch, as taming-transformers and Chameleon have it, beside mot-tokenize's.

    vqgan.py golden                     write vqgan/golden.safetensors for tests/unit/test_nets.c
    vqgan.py parity BIN [FULL]          compare mot-tokenize in BIN with it on random nets; FULL: of Chameleon's size

Needs torch, safetensors, numpy, Pillow.  Weights are a pure function of a tensor's name and an index, so that
the unit test can make the same net without a file.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, i, eps=1e-6), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(32, o, eps=1e-6), nn.Conv2d(o, o, 3, padding=1)
        if i != o:
            self.nin_shortcut = nn.Conv2d(i, o, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.GroupNorm(32, c, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        b, c, h, w = x.shape
        n = self.norm(x)
        q, k, v = (f(n).reshape(b, c, h * w) for f in (self.q, self.k, self.v))
        a = F.softmax(torch.bmm(q.transpose(1, 2), k) * c ** -0.5, dim=2)
        return x + self.proj_out(torch.bmm(v, a.transpose(1, 2)).reshape(b, c, h, w))


def middle(c):
    m = nn.Module()
    m.block_1, m.attn_1, m.block_2 = Block(c, c), Attention(c), Block(c, c)
    return m


def run_middle(m, x):
    return m.block_2(m.attn_1(m.block_1(x)))


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        ch, mult = c["ch"], c["ch_mult"]
        self.conv_in = nn.Conv2d(3, ch, 3, padding=1)
        self.down, side, i = nn.ModuleList(), c["resolution"], ch
        for level, m in enumerate(mult):
            d = nn.Module()
            d.block, d.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(c["num_res_blocks"]):
                d.block.append(Block(i, ch * m))
                i = ch * m
                if side in c["attn_resolutions"]:
                    d.attn.append(Attention(i))
            if level < len(mult) - 1:
                d.downsample = nn.Module()
                d.downsample.conv = nn.Conv2d(i, i, 3, stride=2)
                side //= 2
            self.down.append(d)
        self.mid = middle(i)
        self.norm_out, self.conv_out = nn.GroupNorm(32, i, eps=1e-6), nn.Conv2d(i, c["z_channels"], 3, padding=1)

    def forward(self, x):
        h = self.conv_in(x)
        for d in self.down:
            for j, b in enumerate(d.block):
                h = b(h)
                if len(d.attn):
                    h = d.attn[j](h)
            if hasattr(d, "downsample"):
                h = d.downsample.conv(F.pad(h, (0, 1, 0, 1)))
        return self.conv_out(F.silu(self.norm_out(run_middle(self.mid, h))))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        ch, mult = c["ch"], c["ch_mult"]
        i, side = ch * mult[-1], c["resolution"] >> (len(mult) - 1)
        self.conv_in, self.mid = nn.Conv2d(c["z_channels"], i, 3, padding=1), middle(i)
        ups = []
        for level in reversed(range(len(mult))):
            u = nn.Module()
            u.block, u.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(c["num_res_blocks"] + 1):
                u.block.append(Block(i, ch * mult[level]))
                i = ch * mult[level]
                if side in c["attn_resolutions"]:
                    u.attn.append(Attention(i))
            if level > 0:
                u.upsample = nn.Module()
                u.upsample.conv = nn.Conv2d(i, i, 3, padding=1)
                side *= 2
            ups.insert(0, u)
        self.up = nn.ModuleList(ups)
        self.norm_out, self.conv_out = nn.GroupNorm(32, i, eps=1e-6), nn.Conv2d(i, 3, 3, padding=1)

    def forward(self, z):
        h = run_middle(self.mid, self.conv_in(z))
        for u in reversed(self.up):
            for j, b in enumerate(u.block):
                h = b(h)
                if len(u.attn):
                    h = u.attn[j](h)
            if hasattr(u, "upsample"):
                h = u.upsample.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


class VQGAN(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(c["n_embed"], c["embed_dim"])
        self.quant_conv = nn.Conv2d(c["z_channels"], c["embed_dim"], 1)
        self.post_quant_conv = nn.Conv2d(c["embed_dim"], c["z_channels"], 1)

    def codes(self, x):
        z = self.quant_conv(self.encoder(x)).permute(0, 2, 3, 1).reshape(-1, self.quantize.embedding.weight.shape[1])
        e = self.quantize.embedding.weight
        d = (z ** 2).sum(1, keepdim=True) + (e ** 2).sum(1) - 2 * z @ e.t()
        two = torch.topk(d, 2, largest=False).values
        return d.argmin(1), ((two[:, 1] - two[:, 0]) / two[:, 0]).min()

    def picture(self, codes):
        e = self.quantize.embedding.weight[codes]
        side = int(round(len(codes) ** 0.5))
        x = self.decoder(self.post_quant_conv(e.reshape(1, side, side, -1).permute(0, 3, 1, 2)))
        x = (torch.clamp(x, -1, 1) + 1) / 2
        return (x[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def fnv(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & (2 ** 64 - 1)
    return h


def numbers(name, n):
    """n floats in [-1, 1) of 16 bits: splitmix64 begun with the name's FNV-1a."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(48)).astype(np.float32) - 32768) / 32768


def weights_of_name(net):
    """Weights of natural size: about 1 / sqrt(inputs); norms about 1; the codebook as large as what it quantises."""
    for name, p in net.state_dict().items():
        x = torch.from_numpy(numbers(name, p.numel())).reshape(p.shape)
        if p.dim() > 1 and "embedding" not in name:
            x = x * 1.5 / float(np.float32(np.sqrt(p[0].numel())))
        elif "norm" in name and name.endswith("weight"):
            x = 1 + x / 4
        elif p.dim() == 1:
            x = x / 8
        p.copy_(x)


SMALL = dict(ch=32, ch_mult=[1, 2], num_res_blocks=1, attn_resolutions=[16], resolution=32, z_channels=32, embed_dim=16,
             n_embed=64)


def picture_of(size):
    """Smooth colours with a few edges."""
    y, x = np.mgrid[0:size, 0:size]
    im = np.stack([x * 255 // size, y * 255 // size, (x + y) * 255 // (2 * size)], -1).astype(np.uint8)
    im[size // 4:size // 2, size // 4:size // 2] = [200, 30, 60]
    return im


def tensor_of(im):
    return torch.from_numpy(im.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def golden():
    net = VQGAN(SMALL).eval()
    with torch.no_grad():
        weights_of_name(net)
        im = picture_of(SMALL["resolution"])
        codes, margin = net.codes(tensor_of(im))
        back = net.picture(codes)
    print("codes used", len(set(codes.tolist())), "least margin", float(margin), "values", np.unique(back).size)
    names = "\n".join(f"{k} {' '.join(map(str, v.shape))}" for k, v in net.state_dict().items())
    os.makedirs(os.path.join(HERE, "vqgan"), exist_ok=True)
    save_file({"codes": codes.to(torch.int32), "picture": torch.from_numpy(back.copy())},
              os.path.join(HERE, "vqgan", "golden.safetensors"))
    with open(os.path.join(HERE, "vqgan", "tensors.txt"), "w") as f:
        f.write(names + "\n")


def run(*args):
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(args)}: {r.stderr}")
    return r.stdout


def psnr(a, b):
    e = ((a.astype(float) - b.astype(float)) ** 2).mean()
    return 99.0 if e == 0 else 10 * np.log10(255 ** 2 / e)


def compare(binary, name, config, prefix="", drop=(), dtype=torch.float32):
    net = VQGAN(config).eval()
    with torch.no_grad():
        weights_of_name(net)
        for p in net.parameters():
            p.copy_(p.to(dtype).float())
        # the codebook in the midst of what comes out, so that many codes are used
        im = np.random.default_rng(1).integers(0, 256, (config["resolution"],) * 2 + (3,), dtype=np.uint8)
        im = np.array(Image.fromarray(im).resize((config["resolution"] // 8,) * 2).resize((config["resolution"],) * 2))
        z = net.quant_conv(net.encoder(tensor_of(im)))[0].flatten(1)
        e = net.quantize.embedding.weight
        e.copy_((e * z.std(1) * 1.5 + z.mean(1)).to(dtype).float())
        codes, margin = net.codes(tensor_of(im))
        back = net.picture(codes)
    with tempfile.TemporaryDirectory() as t:
        tensors = {prefix + k: v.to(dtype).contiguous() for k, v in net.state_dict().items() if not k.startswith(drop)}
        tensors["loss.discriminator.x"] = torch.zeros(3)
        save_file(tensors, f"{t}/n.safetensors")
        with open(f"{t}/c.yaml", "w") as f:
            f.write("model:\n  params:\n    embed_dim: %d\n    n_embed: %d\n    ddconfig:\n" % (config["embed_dim"], config["n_embed"]))
            for k in ("z_channels", "resolution", "ch", "num_res_blocks"):
                f.write(f"      {k}: {config[k]}\n")
            f.write("      ch_mult: [%s]\n      attn_resolutions:\n" % ",".join(map(str, config["ch_mult"])))
            for a in config["attn_resolutions"]:
                f.write(f"        - {a}\n")
        Image.fromarray(im).save(f"{t}/a.png")
        with open(f"{t}/b.txt", "w") as f:
            f.write("hello\n")
        run(f"{binary}/mot-tokenize", "-q", "--learn", "text=300", "--image-codec", f"vqgan:{t}/n.safetensors,{t}/c.yaml", "-t",
            f"{t}/tok", f"{t}/b.txt")
        run(f"{binary}/mot-tokenize", "-q", "-t", f"{t}/tok", "-o", f"{t}/a.mot", f"{t}/a.png")
        first = {m["name"]: m["first"] for m in json.load(open(f"{t}/tok/vocab.json"))["modalities"]}["image"]
        doc = json.loads(run(f"{binary}/mot-tokenize", "--dump", f"{t}/a.mot"))
        found = [i - first for s in doc["segments"] if s["modality"] == "image" for i in s["ids"]]
        bad = sum(a != b for a, b in zip(found, codes.tolist())) + abs(len(found) - len(codes))
        text = f"{name}: {len(codes)} codes, {len(set(codes.tolist()))} different, {bad} wrong (nearest tie {float(margin):.1e})"
        ok = bad == 0
        if not drop:
            run(f"{binary}/mot-tokenize", "-q", "--decode", "-o", f"{t}/out", f"{t}/a.mot")
            p = psnr(np.array(Image.open(f"{t}/out/000000.png")), back)
            text += f", PSNR {p:.1f} dB"
            ok &= p > 60
        print(text, flush=True)
        return ok


def parity(binary, full):
    ok = compare(binary, "small", SMALL)
    ok &= compare(binary, "small, Hugging Face's names, no decoder", SMALL, "model.vqmodel.", ("decoder.",))
    ok &= compare(binary, "small, first_stage_model, bf16", SMALL, "first_stage_model.", (), torch.bfloat16)
    ok &= compare(binary, "taming, f16", dict(ch=64, ch_mult=[1, 1, 2, 2, 4], num_res_blocks=2, attn_resolutions=[16],
                  resolution=256, z_channels=64, embed_dim=64, n_embed=1024), "model.")
    if full:
        ok &= compare(binary, "Chameleon", dict(ch=128, ch_mult=[1, 1, 2, 2, 4], num_res_blocks=2, attn_resolutions=[],
                      resolution=512, z_channels=256, embed_dim=256, n_embed=8192))
    sys.exit(not ok)


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        golden()
    else:
        parity(sys.argv[2], len(sys.argv) > 3)
