#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peer.py: the same training step in PyTorch (float32, CPU, eager), timed in turn with ours.

    tests/bench/peer.py [--bench bin/bench-step] [--rounds N] [CONFIG...]
    tests/bench/peer.py --cuda WIDTH,FFN,LAYERS,HEADS,VOCAB,MODALITIES --batch N --seq N --routing R

The same decoder on the same kind of batch: pre-norm RMSNorm, rotary positions, causal attention (PyTorch's fused one), SwiGLU,
untied head, cross-entropy, gradient clipping, fused AdamW.  Two modalities, half the tokens each, interleaved at random:

    dense    one weight for all tokens
    mask     as the MoT authors publish it: for each modality x[mask], the projection, merged[mask] = y
    sorted   tokens sorted by modality once a batch; a projection is one product a modality on a slice;
             q, k, v go to the order of the text and the attention's output comes back

PyTorch gets the best of what can be set here: the number of threads (one or all), and glibc's allocator told to
keep freed memory, which saves it the page faults on every temporary.  `bench-step -s` makes our steps, one after each of
PyTorch's, so that both see the same machine; ratios are medians over the rounds.  Columns, tab-separated: config,
routing, PyTorch's seconds and tokens/s, ours, and how many times as many tokens a second ours makes; what is wanted; met.

With --cuda it prints the median seconds of its steps on a GPU alone: compiled, in bf16 by autocast over float weights.
tests/bench/gpu.sh compares them with ours.
"""
import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

NETS = {  # width, ffn, layers, heads, vocab, seq, batch: as in step.c
    "d48": (48, 128, 3, 3, 3600, 256, 16),
    "d256": (256, 704, 4, 8, 8192, 512, 4),
    "d512": (512, 1408, 8, 8, 8192, 512, 4),
    "d1024": (1024, 2816, 4, 16, 8192, 512, 4),
}
MODALITIES = 2
WANTED = {"dense": 2.0, "mask": 2.0, "sorted": 1.5}  # times PyTorch's tokens a second
WANTED_SMALL = 4.0  # for d48, whatever the routing


class Routes:
    """Which rows of a flat batch belong to which modality."""

    def __init__(self, how, modality, modalities=MODALITIES):
        self.how = how
        if how == "mask":
            self.masks = [modality == m for m in range(modalities)]
        if how == "sorted":
            self.order = torch.argsort(modality, stable=True)
            self.back = torch.empty_like(self.order)
            self.back[self.order] = torch.arange(len(self.order), device=self.order.device)
            self.sizes = torch.bincount(modality, minlength=modalities).tolist()

    def each(self, towers, *inputs):
        """A tower's function on its rows of every input, merged into one tensor again."""
        if self.how == "dense":
            return towers[0](*inputs)
        if self.how == "sorted":
            parts = zip(*(x.split(self.sizes) for x in inputs))
            return torch.cat([tower(*part) for tower, part in zip(towers, parts)])
        outs = [tower(*(x[mask] for x in inputs)) for tower, mask in zip(towers, self.masks)]
        merged = torch.empty(len(self.masks[0]), outs[0].shape[1], dtype=outs[0].dtype, device=outs[0].device)
        for mask, out in zip(self.masks, outs):
            merged[mask] = out
        return merged

    def to_text(self, x):
        return x.index_select(0, self.back) if self.how == "sorted" else x

    def from_text(self, x):
        return x.index_select(0, self.order) if self.how == "sorted" else x


class AttentionIn(nn.Module):
    """norm, then [q | k | v]"""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)

    def forward(self, x):
        return self.qkv(self.norm(x))


class FeedForward(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.gate_up = nn.Linear(width, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(self.norm(x)).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, width, ffn, heads, towers):
        super().__init__()
        self.heads = heads
        self.attention_in = nn.ModuleList(AttentionIn(width) for _ in range(towers))
        self.attention_out = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(towers))
        self.feed_forward = nn.ModuleList(FeedForward(width, ffn) for _ in range(towers))

    def attention(self, qkv, batch, cos, sin):
        q, k, v = qkv.view(batch, -1, 3, self.heads, qkv.shape[1] // (3 * self.heads)).unbind(2)
        q, k, v = rotate(q, cos, sin).transpose(1, 2), rotate(k, cos, sin).transpose(1, 2), v.transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(qkv.shape[0], -1)

    def forward(self, x, routes, batch, cos, sin):
        qkv = routes.to_text(routes.each(self.attention_in, x))
        y = routes.from_text(self.attention(qkv, batch, cos, sin))
        x = x + routes.each(self.attention_out, y)
        return x + routes.each(self.feed_forward, x)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Model(nn.Module):
    def __init__(self, net, how, modalities=MODALITIES):
        super().__init__()
        width, ffn, layers, heads, vocab, seq, _ = net
        towers = 1 if how == "dense" else modalities
        self.how, self.modalities = how, modalities
        self.embed = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList(Layer(width, ffn, heads, towers) for _ in range(layers))
        self.norm = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(towers))
        self.head = nn.Linear(width, vocab, bias=False)
        half = width // heads // 2
        angle = torch.arange(seq)[:, None] * 10000.0 ** -(torch.arange(half) / half)
        self.register_buffer("cos", angle.cos()[None, :, None])
        self.register_buffer("sin", angle.sin()[None, :, None])
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets, modality):
        return self.loss(tokens, targets, Routes(self.how, modality.flatten(), self.modalities))

    def loss(self, tokens, targets, routes):
        x = routes.from_text(self.embed(tokens.flatten()))
        for layer in self.layers:
            x = layer(x, routes, len(tokens), self.cos, self.sin)
        x = routes.each(self.norm, x)
        return F.cross_entropy(self.head(x), routes.from_text(targets.flatten()))


class Peer:
    """A model, its optimizer and its batch."""

    def __init__(self, net, how):
        torch.manual_seed(1)
        self.model = Model(net, how)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                           fused=True)
        vocab, seq, batch = net[4:]
        text = torch.randint(vocab, (batch, seq + 1))
        self.batch = text[:, :-1], text[:, 1:], (text[:, :-1] * MODALITIES) // vocab

    def step(self):
        begin = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        self.model(*self.batch).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return time.perf_counter() - begin


class CudaPeer:
    """The same on a GPU; routes are made once a batch, outside of what is compiled, as ours are."""

    def __init__(self, net, how, modalities):
        torch.manual_seed(1)
        torch.set_float32_matmul_precision("high")
        self.model = Model(net, how, modalities).cuda()
        self.loss = torch.compile(self.model.loss)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        vocab, seq, batch = net[4:]
        text = torch.randint(vocab, (batch, seq + 1), device="cuda")
        self.text, self.targets = text[:, :-1], text[:, 1:]
        self.routes = Routes(how, ((self.text * modalities) // vocab).flatten(), modalities)

    def step(self):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = self.loss(self.text, self.targets, self.routes)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        torch.cuda.synchronize()
        return time.perf_counter() - begin


def on_gpu(a):
    width, ffn, layers, heads, vocab, modalities = (int(x) for x in a.cuda.split(","))
    peer = CudaPeer((width, ffn, layers, heads, vocab, a.seq, a.batch), a.routing, modalities)
    for _ in range(3):  # compiles and warms up
        peer.step()
    print(statistics.median(peer.step() for _ in range(a.rounds)))


def keep_freed_memory():
    """M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt(3)."""
    libc = ctypes.CDLL(None)
    for option, value in ((-1, 2**31 - 1), (-2, 64 << 20), (-3, 1 << 30)):
        libc.mallopt(option, value)


def best_threads(peer, cores):
    """The number of threads that PyTorch is fastest with."""
    tried = {}
    for threads in {1, cores}:
        torch.set_num_threads(threads)
        peer.step()
        tried[threads] = min(peer.step() for _ in range(2))
    return min(tried, key=tried.get)


class Ours:
    """bench-step at the other end of two pipes."""

    def __init__(self, bench, name):
        spin = {**os.environ, "GOMP_SPINCOUNT": "10000"}  # as programs set it for themselves
        self.process = subprocess.Popen([bench, "-s", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=spin)

    def step(self, what):
        time.sleep(0.05)  # PyTorch's threads spin a while after their last work
        for _ in range(2):
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            seconds = float(self.process.stdout.readline())
        return seconds

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, how, bench, rounds):
    net, cores = NETS[name], len(os.sched_getaffinity(0))
    peer, ours = Peer(net, how), Ours(bench, name)
    threads = best_threads(peer, cores)
    torch.set_num_threads(threads)
    theirs, mine = [], []
    for turn in range(rounds + 1):  # the first warms up
        # Steps of a training follow each other: of either the second in a row counts, with its own data in the caches.
        a, b = [peer.step() for _ in range(2)][1], ours.step("dense" if how == "dense" else "mot")
        if turn:
            theirs.append(a)
            mine.append(b)
    ours.close()
    tokens, wanted = net[5] * net[6], WANTED_SMALL if name == "d48" else WANTED[how]
    times = statistics.median(a / b for a, b in zip(theirs, mine))
    a, b = statistics.median(theirs), statistics.median(mine)
    print(name, how, f"{a:.4f}", f"{tokens / a:.0f}", f"{b:.4f}", f"{tokens / b:.0f}", threads, f"{times:.2f}",
          f">={wanted:.1f}", "yes" if times >= wanted else "no", sep="\t", flush=True)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--bench", default="bin/bench-step")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--cuda")
    p.add_argument("--batch", type=int)
    p.add_argument("--seq", type=int)
    p.add_argument("--routing", choices=list(WANTED))
    p.add_argument("config", nargs="*", choices=[[], *NETS])
    a = p.parse_args()
    if a.cuda:
        on_gpu(a)
        return
    keep_freed_memory()
    print(f"# PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print("config\trouting\tPyTorch s\tPyTorch tok/s\tours s\tours tok/s\tits threads\ttimes\twant\tmet")
    for name in a.config or NETS:
        for how in WANTED:
            compare(name, how, a.bench, a.rounds)


if __name__ == "__main__":
    sys.exit(main())
