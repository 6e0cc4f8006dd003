#!/usr/bin/env python3
"""InceptionV3 as FID has it, in PyTorch, beside mot-eval's.

    inception.py golden             write inception/tensors.txt and inception/golden.txt for tests/unit/test_metrics.c
    inception.py parity BIN         compare mot-eval in BIN with it on a random net of the real size, by the distance of two sets
    inception.py names              compare the names and shapes with torchvision's own class (needs torchvision)

Needs torch, safetensors, numpy, Pillow, scipy.  The net is built of plain functions from the description of the blocks in
pytorch-fid.  `narrow` divides all channels.  Weights are a pure function of a tensor's name and an index, as in vqgan.py.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from vqgan import HERE, numbers, picture_of


class Net:
    """Runs the net and makes each tensor when it is first needed."""

    def __init__(self, narrow):
        self.narrow, self.t = narrow, {}

    def tensor(self, name, *shape):
        if name not in self.t:
            n = int(np.prod(shape))
            x = torch.from_numpy(numbers(name, n)).reshape(shape)
            if len(shape) > 1:
                x = x * 1.5 / float(np.float32(np.sqrt(n // shape[0])))
            else:
                x = x / 8
            if name.endswith("running_var") or name.endswith("bn.weight"):
                x = 1 + 2 * x
            self.t[name] = x
        return self.t[name]

    def conv(self, x, name, O, k, stride=1, pad=0):
        O = O // self.narrow
        k = k if isinstance(k, tuple) else (k, k)
        x = F.conv2d(x, self.tensor(name + ".conv.weight", O, x.shape[1], *k), stride=stride, padding=pad)
        bn = [self.tensor(f"{name}.bn.{p}", O) for p in ("weight", "bias", "running_mean", "running_var")]
        return F.relu(F.batch_norm(x, bn[2], bn[3], bn[0], bn[1], False, 0, 0.001))

    def average(self, x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def a(self, x, n, pool):
        c = self.conv
        return torch.cat([c(x, n + "branch1x1", 64, 1),
                          c(c(x, n + "branch5x5_1", 48, 1), n + "branch5x5_2", 64, 5, pad=2),
                          c(c(c(x, n + "branch3x3dbl_1", 64, 1), n + "branch3x3dbl_2", 96, 3, pad=1), n + "branch3x3dbl_3", 96, 3,
                            pad=1), c(self.average(x), n + "branch_pool", pool, 1)], 1)

    def b(self, x, n):
        c = self.conv
        return torch.cat([c(x, n + "branch3x3", 384, 3, 2),
                          c(c(c(x, n + "branch3x3dbl_1", 64, 1), n + "branch3x3dbl_2", 96, 3, pad=1), n + "branch3x3dbl_3", 96, 3, 2),
                          F.max_pool2d(x, 3, 2)], 1)

    def c(self, x, n, w):
        c, row, column = self.conv, ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        y = c(c(c(x, n + "branch7x7_1", w, 1), n + "branch7x7_2", w, *row), n + "branch7x7_3", 192, *column)
        z = c(c(c(x, n + "branch7x7dbl_1", w, 1), n + "branch7x7dbl_2", w, *column), n + "branch7x7dbl_3", w, *row)
        z = c(c(z, n + "branch7x7dbl_4", w, *column), n + "branch7x7dbl_5", 192, *row)
        return torch.cat([c(x, n + "branch1x1", 192, 1), y, z, c(self.average(x), n + "branch_pool", 192, 1)], 1)

    def d(self, x, n):
        c = self.conv
        y = c(c(x, n + "branch3x3_1", 192, 1), n + "branch3x3_2", 320, 3, 2)
        z = c(c(x, n + "branch7x7x3_1", 192, 1), n + "branch7x7x3_2", 192, (1, 7), 1, (0, 3))
        z = c(c(z, n + "branch7x7x3_3", 192, (7, 1), 1, (3, 0)), n + "branch7x7x3_4", 192, 3, 2)
        return torch.cat([y, z, F.max_pool2d(x, 3, 2)], 1)

    def e(self, x, n, pool):
        c, row, column = self.conv, ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        y = c(x, n + "branch3x3_1", 384, 1)
        z = c(c(x, n + "branch3x3dbl_1", 448, 1), n + "branch3x3dbl_2", 384, 3, pad=1)
        return torch.cat([c(x, n + "branch1x1", 320, 1), c(y, n + "branch3x3_2a", 384, *row), c(y, n + "branch3x3_2b", 384, *column),
                          c(z, n + "branch3x3dbl_3a", 384, *row), c(z, n + "branch3x3dbl_3b", 384, *column),
                          c(pool(x), n + "branch_pool", 192, 1)], 1)

    def features(self, im):
        x = torch.from_numpy(im.astype(np.float32) / 255).permute(2, 0, 1)[None]
        x = 2 * F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False) - 1
        c = self.conv
        x = c(c(c(x, "Conv2d_1a_3x3", 32, 3, 2), "Conv2d_2a_3x3", 32, 3), "Conv2d_2b_3x3", 64, 3, pad=1)
        x = F.max_pool2d(x, 3, 2)
        x = F.max_pool2d(c(c(x, "Conv2d_3b_1x1", 80, 1), "Conv2d_4a_3x3", 192, 3), 3, 2)
        for name, pool in ("5b", 32), ("5c", 64), ("5d", 64):
            x = self.a(x, f"Mixed_{name}.", pool)
        x = self.b(x, "Mixed_6a.")
        for name, w in ("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192):
            x = self.c(x, f"Mixed_{name}.", w)
        x = self.d(x, "Mixed_7a.")
        x = self.e(x, "Mixed_7b.", self.average)
        x = self.e(x, "Mixed_7c.", lambda t: F.max_pool2d(t, 3, 1, 1))
        return x.mean((2, 3))[0].double().numpy()


def golden():
    net = Net(16)
    f = net.features(picture_of(40)[:, :30])
    os.makedirs(os.path.join(HERE, "inception"), exist_ok=True)
    with open(os.path.join(HERE, "inception", "tensors.txt"), "w") as out:
        out.write("\n".join(f"{k} {' '.join(map(str, v.shape))}" for k, v in net.t.items()) + "\n")
    np.savetxt(os.path.join(HERE, "inception", "golden.txt"), f, "%.7g")
    print(len(net.t), "tensors,", f.size, "features from", f.min(), "to", f.max())


def parity(bin):
    from scipy.linalg import sqrtm
    net, rng, sets = Net(1), np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        for k, name in enumerate("ab"):
            os.mkdir(os.path.join(folder, name))
            rows = []
            for i in range(4):
                im = np.clip(rng.normal(120 + 20 * k, 50, (70 + i, 90, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(im).save(os.path.join(folder, name, f"{i}.png"))
                rows.append(net.features(im))
            sets.append(np.array(rows))
        save_file({k: v.contiguous() for k, v in net.t.items()}, os.path.join(folder, "net.safetensors"))
        a, b = (x - x.mean(0) for x in sets)
        d = np.sum((sets[0].mean(0) - sets[1].mean(0)) ** 2) + (np.sum(a * a) + np.sum(b * b)) / 3
        d -= 2 * np.sum(np.linalg.svd(a @ b.T / 3, compute_uv=False))
        out = subprocess.run([os.path.join(bin, "mot-eval"), "--json", "--frechet", "--features",
                              "inception:" + os.path.join(folder, "net.safetensors"), os.path.join(folder, "a"),
                              os.path.join(folder, "b")], capture_output=True, text=True, check=True).stdout
    print("expected", d, "found", out.strip())


def names():
    import torchvision
    theirs = {k: tuple(v.shape) for k, v in torchvision.models.Inception3(num_classes=1008, aux_logits=False,
                                                                         init_weights=False).state_dict().items()
              if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    net = Net(1)
    net.features(picture_of(64))
    ours = {k: tuple(v.shape) for k, v in net.t.items()}
    print("equal names and shapes:", ours == theirs, len(ours))


if __name__ == "__main__":
    with torch.no_grad():
        {"golden": golden, "parity": lambda: parity(sys.argv[2]), "names": names}[sys.argv[1]]()
