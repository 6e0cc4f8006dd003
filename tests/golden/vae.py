#!/usr/bin/env python3
"""AutoencoderKL in PyTorch, as Stable Diffusion and FLUX have it, beside mot-tokenize's.

    vae.py golden                     write vae/sd.* and vae/flux.* for tests/unit/test_vae.c
    vae.py parity BIN [FULL]          compare mot-tokenize in BIN with it on random nets; FULL: of the real ones' sizes

Needs torch, diffusers, safetensors, numpy, Pillow.  Nets under diffusers' names are diffusers' own class; those under the
original names are built of vqgan.py's parts.  Weights are a pure function of a tensor's name and an index, so that the unit
test can make the same net without a file.
"""
import json
import os
import sys
import tempfile

import numpy as np
import torch
import torch.nn as nn
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file
from vqgan import HERE, Decoder, Encoder, picture_of, psnr, run, tensor_of, weights_of_name


class Original(nn.Module):
    """FLUX's: no quant_conv, no post_quant_conv."""

    def __init__(self, c):
        super().__init__()
        c = dict(c, attn_resolutions=[])
        self.encoder, self.decoder = Encoder(dict(c, z_channels=2 * c["z_channels"])), Decoder(c)

    def mean(self, x):
        return self.encoder(x).chunk(2, 1)[0]

    def picture(self, z):
        return self.decoder(z)


class Diffusers(nn.Module):
    def __init__(self, c):
        super().__init__()
        n = len(c["ch_mult"])
        self.net = AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=c["z_channels"], layers_per_block=c["num_res_blocks"],
            block_out_channels=[c["ch"] * m for m in c["ch_mult"]], down_block_types=["DownEncoderBlock2D"] * n,
            up_block_types=["UpDecoderBlock2D"] * n, use_quant_conv=c["quant"], use_post_quant_conv=c["quant"])

    def mean(self, x):
        return self.net.encode(x).latent_dist.mean

    def picture(self, z):
        return self.net.decode(z).sample


def bytes_of(x):
    return ((torch.clamp(x, -1, 1) + 1) * 127.5).round()[0].permute(1, 2, 0).numpy().astype(np.uint8)


SMALL = {"sd": dict(ch=32, ch_mult=[1, 2], num_res_blocks=1, resolution=32, z_channels=4, quant=True, scale=0.18215, shift=0.0),
         "flux": dict(ch=32, ch_mult=[1, 2, 2], num_res_blocks=1, resolution=32, z_channels=16, quant=False, scale=0.3611,
                      shift=0.1159)}


def make(c, original):
    net = (Original if original else Diffusers)(c).eval()
    tensors = net if original else net.net
    weights_of_name(tensors)
    return net, tensors


def there_and_back(net, c, im):
    """Scaled latents, (rows, columns, channels); and the picture of those after binary16."""
    z = (net.mean(tensor_of(im)) - c["shift"]) * c["scale"]
    half = z.half().float()
    return z[0].permute(1, 2, 0).contiguous(), bytes_of(net.picture(half / c["scale"] + c["shift"]))


def golden():
    os.makedirs(os.path.join(HERE, "vae"), exist_ok=True)
    for name, c in SMALL.items():
        with torch.no_grad():
            net, tensors = make(c, name == "flux")
            z, back = there_and_back(net, c, picture_of(c["resolution"]))
        print(name, "latents", tuple(z.shape), "deviation", float(z.std()), "bytes", np.unique(back).size)
        save_file({"latents": z, "picture": torch.from_numpy(back.copy())}, os.path.join(HERE, "vae", f"{name}.safetensors"))
        with open(os.path.join(HERE, "vae", f"{name}.txt"), "w") as f:
            f.writelines(f"{k} {' '.join(map(str, v.shape))}\n" for k, v in tensors.state_dict().items())


def patches(z, p):
    """BAGEL's: rows and columns of patches, then row, column and channel in each."""
    r, c, n = z.shape
    return z.reshape(r // p, p, c // p, p, n).permute(0, 2, 1, 3, 4).reshape(-1, p * p * n)


def deprecated(name):
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return name


def compare(binary, label, c, original, prefix="", dtype=torch.float32, config=False, patch=2, rename=lambda s: s, say=""):
    with torch.no_grad():
        net, tensors = make(c, original)
        for p in tensors.parameters():
            p.copy_(p.to(dtype).float())
        size = c["resolution"]
        im = np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)
        im = np.array(Image.fromarray(im).resize((size // 8,) * 2).resize((size,) * 2))
        z, back = there_and_back(net, c, im)
    with tempfile.TemporaryDirectory() as t:
        all_ = {prefix + rename(k): v.to(dtype).contiguous() for k, v in tensors.state_dict().items()}
        save_file(dict(all_, **{"model.diffusion_model.x": torch.zeros(3)}), f"{t}/n.safetensors")
        if config:
            with open(f"{t}/config.json", "w") as f:
                json.dump(dict(tensors.config, _class_name="AutoencoderKL", scaling_factor=c["scale"], shift_factor=c["shift"]), f)
        Image.fromarray(im).save(f"{t}/a.png")
        with open(f"{t}/b.txt", "w") as f:
            f.write("hello\n")
        run(f"{binary}/mot-tokenize", "-q", "--learn", "text=300", "--latent", f"vae:{t}/n.safetensors,patch={patch}{say}",
            "--image-size", str(size), "-t", f"{t}/tok", f"{t}/b.txt")
        run(f"{binary}/mot-tokenize", "-q", "-t", f"{t}/tok", "-o", f"{t}/a.mot", f"{t}/a.png")
        doc = json.loads(run(f"{binary}/mot-tokenize", "--dump", f"{t}/a.mot"))
        found = [s for s in doc["segments"] if s["modality"] == "image"][0]
        want, got = patches(z, patch).numpy(), np.array(found["vectors"])
        # what binary16 rounds apart: half a unit of 11 bits
        error = np.abs(got - want).max() / np.abs(want).max() if got.shape == want.shape else 9
        run(f"{binary}/mot-tokenize", "-q", "--decode", "-o", f"{t}/out", f"{t}/a.mot")
        p = psnr(np.array(Image.open(f"{t}/out/000000.png")), back)
    print(f"{label}: {found['rows']} x {found['columns']} of {want.shape[1]}, deviation {want.std():.3f}, "
          f"largest error {error:.1e} of the largest value, PSNR {p:.1f} dB", flush=True)
    return error < 6e-4 and p > 60


def parity(binary, full):
    sd, flux = SMALL["sd"], SMALL["flux"]
    ok = compare(binary, "Stable Diffusion, small", sd, False, config=True)
    ok &= compare(binary, "Stable Diffusion, small, earlier names, no config.json", sd, False, rename=deprecated)
    ok &= compare(binary, "Stable Diffusion, small, patch 1, other scale", dict(sd, scale=0.13025), False, patch=1,
                  say=",scale=0.13025")
    ok &= compare(binary, "FLUX, small", flux, True)
    ok &= compare(binary, "FLUX, small, bf16, prefix, patch 4", flux, True, "first_stage_model.", torch.bfloat16, patch=4)
    ok &= compare(binary, "FLUX, small, diffusers", flux, False, config=True)
    four = dict(sd, ch_mult=[1, 2, 3, 4], num_res_blocks=2, resolution=64)
    ok &= compare(binary, "four levels, diffusers", four, False)
    ok &= compare(binary, "four levels, original", dict(four, quant=False), True)
    if full:
        ok &= compare(binary, "Stable Diffusion", dict(sd, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, resolution=256), False,
                      config=True)
        ok &= compare(binary, "FLUX", dict(flux, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, resolution=256), True)
    sys.exit(not ok)


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        golden()
    else:
        parity(sys.argv[2], len(sys.argv) > 3)
