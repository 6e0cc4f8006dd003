#!/usr/bin/env python3
"""Checksums of what Pillow makes of a picture by LANCZOS, for tests/unit/test_nets.c: lanczos.py > lanczos.txt

A line: width, height, new width, new height, the window's x, y, width, height, CRC-32 of its RGB bytes.  Needs Pillow, numpy."""
import random
import zlib

import numpy as np
from PIL import Image


def picture_of(w, h):
    i = np.arange(w * h * 3, dtype=np.uint64)
    z = (i * np.uint64(2654435761) >> np.uint64(7)) & np.uint64(255)
    smooth = i * np.uint64(255) // np.uint64(max(w * h * 3 - 1, 1))
    return np.where((i // np.uint64(97)) % np.uint64(3) == 0, z, smooth).astype(np.uint8).reshape(h, w, 3)


random.seed(1)
cases = [(1, 1, 1, 1), (1, 1, 64, 64), (7, 5, 7, 9), (7, 5, 14, 5), (512, 300, 512, 300), (3, 400, 64, 8533)]
cases += [tuple(random.choice((random.randint(1, 40), random.randint(1, 300))) for _ in range(4)) for _ in range(60)]
for w, h, a, b in cases:
    im = Image.fromarray(picture_of(w, h)).resize((a, b), Image.LANCZOS)
    cw, ch = random.randint(1, a), random.randint(1, min(b, 256))
    x, y = random.randint(0, a - cw), random.randint(0, b - ch)
    crc = zlib.crc32(np.array(im.crop((x, y, x + cw, y + ch))).tobytes())
    print(w, h, a, b, x, y, cw, ch, f"{crc:08x}")
