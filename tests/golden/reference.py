#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""reference.py - the model of mot-model(5) once more, in PyTorch and double precision.

It shares no code with the library and was written from the manual pages alone: it is what the library is
compared with (parity.py) and what made the golden files (make_golden.py).  It is written to be checked by
eye, one document at a time, one tower at a time, with full attention matrices and full logits; it is slow.

    reference.py FOLDER DUMP                 per-token nll, as `mot-eval --per-token FOLDER` prints it
    reference.py --grad FOLDER DUMP          loss and gradient norms of a training step over all documents
        --save-grads F.safetensors           ... and all gradients
        --save-step F.safetensors            ... and the weights after one AdamW step

FOLDER holds config.json and model.safetensors; DUMP is what `mot-tokenize --dump` prints ("-": standard
input).  Modalities of tokens are those that the dump gives.  Needs numpy, safetensors and torch.
"""
import argparse
import fnmatch
import json
import math
import os
import sys

import torch
from safetensors.torch import load_file, save_file

COMPONENTS = ("attn_qkv", "attn_o", "attn_norm", "qk_norm", "ffn", "ffn_norm", "final_norm")


class Config:
    """config.json with the defaults of mot-model(5)."""

    def __init__(self, keys):
        get = keys.get
        self.hidden = keys["hidden_size"]
        self.ffn = keys["intermediate_size"]
        self.layers = keys["num_hidden_layers"]
        self.heads = keys["num_attention_heads"]
        self.kv_heads = get("num_key_value_heads") or self.heads
        self.head_dim = get("head_dim") or self.hidden // self.heads
        self.vocab = keys["vocab_size"]
        self.positions = get("max_position_embeddings", 2048)
        rope = get("rope_parameters") or {}
        self.theta = get("rope_theta") or rope.get("rope_theta") or 10000.0
        self.eps = get("rms_norm_eps", 1e-6)
        self.tied = get("tie_word_embeddings", False)
        family = get("model_type", "")
        self.bias = get("attention_bias", family == "qwen2")
        self.out_bias = get("attention_out_bias", self.bias and family != "qwen2")
        self.qk_norm = get("qk_norm", family == "qwen3")
        self.post = get("norm_placement", "pre") == "post"
        self.z_loss = get("z_loss", 0.0)
        self.modalities = get("modalities", ["text"])
        self.towers = get("towers", self.modalities)
        m = len(self.modalities)
        identity = [0] * m if len(self.towers) == 1 else list(range(m))
        given = get("tower_of", {})
        self.tower_of = {c: given.get(c, identity) for c in COMPONENTS}
        weights = get("loss_weights", [1.0] * m)
        if isinstance(weights, dict):
            weights = [weights.get(name, 1.0) for name in self.modalities]
        self.loss_weights = weights
        sizes = get("latent_sizes") or {}
        self.vectors = next((k for k, n in enumerate(self.modalities) if sizes.get(n)), -1)
        self.width = sizes.get(self.modalities[self.vectors], 0)
        self.unet = get("unet")

    def name(self, module, tower, kind="weight"):
        """The tensor's name.  A tower's own name follows the module that has towers: the last one of the
        path, or the one before "|" (a tower has an mlp of its own, not a gate_proj of its own)."""
        suffix = "" if tower == 0 else "_" + self.towers[tower]
        head, dot, tail = module.partition("|")
        return head + suffix + ("." + tail if dot else "") + "." + kind

    def tensors(self):
        """{name: (shape, tower or None)} of every tensor that the folder must hold."""
        t = {"model.embed_tokens.weight": ((self.vocab, self.hidden), None)}
        if not self.tied:
            t["lm_head.weight"] = ((self.vocab, self.hidden), None)
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim

        def add(component, module, shape, kind="weight"):
            for tower in sorted(set(self.tower_of[component])):
                t[self.name(module, tower, kind)] = (shape, tower)

        for i in range(self.layers):
            p = f"model.layers.{i}."
            for x, rows in (("q", q), ("k", kv), ("v", kv)):
                add("attn_qkv", p + f"self_attn.{x}_proj", (rows, self.hidden))
                if self.bias:
                    add("attn_qkv", p + f"self_attn.{x}_proj", (rows,), "bias")
            add("attn_o", p + "self_attn.o_proj", (self.hidden, q))
            if self.out_bias:
                add("attn_o", p + "self_attn.o_proj", (self.hidden,), "bias")
            if self.qk_norm:
                add("qk_norm", p + "self_attn.q_norm", (self.head_dim,))
                add("qk_norm", p + "self_attn.k_norm", (self.head_dim,))
            add("attn_norm", p + "input_layernorm", (self.hidden,))
            add("ffn_norm", p + "post_attention_layernorm", (self.hidden,))
            add("ffn", p + "mlp|gate_proj", (self.ffn, self.hidden))
            add("ffn", p + "mlp|up_proj", (self.ffn, self.hidden))
            add("ffn", p + "mlp|down_proj", (self.hidden, self.ffn))
        add("final_norm", "model.norm", (self.hidden,))
        if self.vectors >= 0:
            values = self.unet["patch_size"] ** 2 * self.unet["channels"] if self.unet else self.width
            for name, rows, columns in (("vae2llm", self.hidden, values), ("llm2vae", values, self.hidden),
                                        ("time_embedder.mlp.0", self.hidden, 256),
                                        ("time_embedder.mlp.2", self.hidden, self.hidden)):
                t[name + ".weight"] = ((rows, columns), None)
                t[name + ".bias"] = ((rows,), None)
        if self.unet:
            t.update({"unet." + name: (shape, None) for name, shape in self.unet_tensors()})
        return t

    def unet_tensors(self):
        n, blocks = self.unet["channels"], self.unet["blocks"]
        pixel = self.width // self.unet["patch_size"] ** 2
        yield from (("conv_in.weight", (n, 9 * pixel)), ("conv_in.bias", (n,)), ("norm_out.weight", (n,)),
                    ("conv_out.weight", (pixel, 9 * n)), ("conv_out.bias", (pixel,)))
        for i in range(2 * blocks):
            for name, shape in (("norm1.weight", (n,)), ("conv1.weight", (n, 9 * n)), ("conv1.bias", (n,)),
                                ("time_emb_proj.weight", (n, self.hidden)), ("time_emb_proj.bias", (n,)),
                                ("norm2.weight", (n,)), ("conv2.weight", (n, 9 * n)), ("conv2.bias", (n,))):
                yield f"resnets.{i}.{name}", shape
        for i in range(blocks):
            yield f"skips.{i}.weight", (n, n)


class Model:
    """Weights in double with gradients, and the forward pass of one piece of a document."""

    def __init__(self, folder):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            self.c = Config(json.load(f))
        stored = load_file(os.path.join(folder, "model.safetensors"))
        expected = self.c.tensors()
        if set(stored) != set(expected):
            raise SystemExit(f"{folder}: tensors not as config.json has them: "
                             f"{sorted(set(stored) ^ set(expected))}")
        for name, (shape, _) in expected.items():
            if tuple(stored[name].shape) != shape:
                raise SystemExit(f"{folder}: {name} is {tuple(stored[name].shape)}, expected {shape}")
        self.w = {n: stored[n].double().requires_grad_() for n in expected}
        self.tower = {n: tower for n, (_, tower) in expected.items()}

    def by_tower(self, component, modality, x, apply):
        """Rows of x, each through the tower of its modality: apply(rows of x, tower)."""
        towers = torch.tensor(self.c.tower_of[component])[modality]
        parts, where = [], []
        for tower in sorted(set(towers.tolist())):
            rows = (towers == tower).nonzero().flatten()
            parts.append(apply(x[rows], tower))
            where.append(rows)
        return torch.cat(parts)[torch.argsort(torch.cat(where))]

    def linear(self, component, module, modality, x, bias):
        def apply(rows, tower):
            y = rows @ self.w[self.c.name(module, tower)].T
            return y + self.w[self.c.name(module, tower, "bias")] if bias else y
        return self.by_tower(component, modality, x, apply)

    def norm(self, component, module, modality, x):
        def apply(rows, tower):
            mean = rows.pow(2).mean(-1, keepdim=True)
            return rows * torch.rsqrt(mean + self.c.eps) * self.w[self.c.name(module, tower)]
        return self.by_tower(component, modality, x, apply)

    def rope(self, x):
        """x (T, H, D): the pair (j, j + D/2) at position t turned by t * theta^(-2j/D)."""
        length, _, size = x.shape
        half = size // 2
        frequency = self.c.theta ** (-torch.arange(half, dtype=torch.float64) * 2 / size)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def affine(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def time(self, time):
        angle = time * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float64) / 128)
        hidden = self.affine("time_embedder.mlp.0", torch.cat((angle.cos(), angle.sin())))
        return self.affine("time_embedder.mlp.2", hidden * torch.sigmoid(hidden))

    def conv(self, name, x):
        """x (channels, height, width); the weight's rows are (3, 3, channels)."""
        w = self.w["unet." + name + ".weight"]
        w = w.view(len(w), 3, 3, -1).permute(0, 3, 1, 2)
        return torch.nn.functional.conv2d(x[None], w, self.w["unet." + name + ".bias"], padding=1)[0]

    def norm_silu(self, name, x):
        mean = x.pow(2).mean(0, keepdim=True)
        return torch.nn.functional.silu(x * torch.rsqrt(mean + self.c.eps) * self.w["unet." + name + ".weight"][:, None, None])

    def resnet(self, i, x, time):
        p = f"resnets.{i}."
        y = self.conv(p + "conv1", self.norm_silu(p + "norm1", x))
        time = self.affine(f"unet.{p}time_emb_proj", torch.nn.functional.silu(time))
        return x + self.conv(p + "conv2", self.norm_silu(p + "norm2", y + time[:, None, None]))

    def picture(self, patches, columns):
        """Patches (n, P P channels) as a picture (channels, height, width)."""
        p = self.c.unet["patch_size"]
        x = patches.view(-1, columns, p, p, patches.shape[1] // p ** 2)
        return x.permute(4, 0, 2, 1, 3).reshape(x.shape[4], x.shape[0] * p, columns * p)

    def patches_of(self, x):
        """The inverse."""
        p = self.c.unet["patch_size"]
        x = x.view(len(x), x.shape[1] // p, p, x.shape[2] // p, p)
        return x.permute(1, 3, 2, 4, 0).reshape(x.shape[1] * x.shape[3], -1)

    def patches(self, picture):
        """Patches (n, width) of a picture at a level of noise, as the first layer sees them."""
        _, vectors, time, columns = picture
        if not self.c.unet:
            return self.affine("vae2llm", vectors) + self.time(time)
        x = self.conv("conv_in", self.picture(vectors, columns))
        self.down = []
        for i in range(self.c.unet["blocks"]):
            x = self.resnet(i, x, self.time(time))
            self.down.append(x)
        return self.affine("vae2llm", self.patches_of(x))

    def told(self, hidden, picture):
        """What is told about a picture whose patches left the last norm as `hidden`; after patches()."""
        x, (_, _, time, columns) = self.affine("llm2vae", hidden), picture
        if not self.c.unet:
            return x
        x, blocks = self.picture(x, columns), self.c.unet["blocks"]
        for i in range(blocks):
            skip = torch.einsum("oc,cyx->oyx", self.w[f"unet.skips.{i}.weight"], self.down[blocks - 1 - i])
            x = self.resnet(blocks + i, x + skip, self.time(time))
        return self.patches_of(self.conv("conv_out", self.norm_silu("norm_out", x)))

    def attention(self, p, modality, x, pictures):
        c, length = self.c, len(x)
        q, k, v = (self.linear("attn_qkv", f"{p}self_attn.{n}_proj", modality, x, c.bias)
                   .view(length, -1, c.head_dim) for n in "qkv")
        if c.qk_norm:
            q = self.norm("qk_norm", p + "self_attn.q_norm", modality, q)
            k = self.norm("qk_norm", p + "self_attn.k_norm", modality, k)
        q, k = self.rope(q), self.rope(k)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        for begin, vectors, _, _ in pictures:
            end = begin + len(vectors)
            future[begin:end, begin:end] = False
        heads = []
        for h in range(c.heads):
            g = h // (c.heads // c.kv_heads)
            score = q[:, h] @ k[:, g].T / math.sqrt(c.head_dim)
            heads.append(score.masked_fill(future, -math.inf).softmax(-1) @ v[:, g])
        return self.linear("attn_o", p + "self_attn.o_proj", modality, torch.cat(heads, -1), c.out_bias)

    def feed_forward(self, p, modality, x):
        def apply(rows, tower):
            gate, up, down = (self.w[self.c.name(f"{p}mlp|{n}_proj", tower)]
                              for n in ("gate", "up", "down"))
            g = rows @ gate.T
            return (g * torch.sigmoid(g) * (rows @ up.T)) @ down.T
        return self.by_tower("ffn", modality, x, apply)

    def hidden(self, ids, modality, pictures=()):
        """What the head sees of a piece: ids and modalities (T) of its inputs, and its pictures of vectors,
        each with its first row, its vectors at their level of noise, that level (of 1000), and how many patches
        stand beside each other."""
        c = self.c
        x = self.w["model.embed_tokens.weight"][ids]
        for picture in pictures:
            begin, end = picture[0], picture[0] + len(picture[1])
            x = torch.cat((x[:begin], self.patches(picture), x[end:]))
        for i in range(c.layers):
            p = f"model.layers.{i}."

            def attn_norm(y):
                return self.norm("attn_norm", p + "input_layernorm", modality, y)

            def ffn_norm(y):
                return self.norm("ffn_norm", p + "post_attention_layernorm", modality, y)

            if c.post:  # Algorithm 1 of the paper
                x = x + attn_norm(self.attention(p, modality, x, pictures))
                x = x + ffn_norm(self.feed_forward(p, modality, x))
            else:
                x = x + self.attention(p, modality, attn_norm(x), pictures)
                x = x + self.feed_forward(p, modality, ffn_norm(x))
        return self.norm("final_norm", "model.norm", modality, x)

    def head(self, x):
        return x @ self.w["model.embed_tokens.weight" if self.c.tied else "lm_head.weight"].T

    def logits(self, ids, modality):
        """(T, vocab) of a piece."""
        return self.head(self.hidden(ids, modality))

    def score(self, ids, modality):
        """nll and log-sum-exp of ids[1:] given those before."""
        logits = self.logits(ids[:-1], modality[:-1])
        lse = logits.logsumexp(-1)
        return lse - logits.gather(1, ids[1:, None])[:, 0], lse


def read_dump(path, config):
    """Documents of a dump: a list of (ids, modalities), tensors."""
    docs = []
    with (sys.stdin if path == "-" else open(path, encoding="utf-8")) as f:
        for line in f:
            ids, modality = [], []
            for s in json.loads(line)["segments"]:
                ids += s["ids"]
                modality += [config.modalities.index(s["modality"])] * len(s["ids"])
            docs.append((torch.tensor(ids, dtype=torch.long), torch.tensor(modality, dtype=torch.long)))
    return docs


def score_document(model, ids, modality, context, stride):
    """nll of ids[1:]; a document of more than `context` rows in windows.

    The first window scores all its targets; each next one ends `stride` targets later (the last one with the
    document) and scores those, with the rest of its `context` rows before them."""
    rows = len(ids) - 1
    if rows < 1:
        return torch.zeros(0, dtype=torch.float64)
    nll = torch.zeros(rows, dtype=torch.float64)
    done = 0
    while done < rows:
        end = min(done + (stride if done else context), rows)
        begin = max(end - context, 0)
        nll[done:end] = model.score(ids[begin:end + 1], modality[begin:end + 1])[0][done - begin:]
        done = end
    return nll


def cut(docs, seq):
    """Pieces of documents as packing into sequences of `seq` rows cuts them; seq 0: whole documents."""
    pieces, room = [], seq
    for ids, modality in docs:
        begin, rows = 0, len(ids) - 1
        while begin < rows:
            n = min(rows - begin, room) if seq else rows
            pieces.append((ids[begin:begin + n + 1], modality[begin:begin + n + 1]))
            begin, room = begin + n, room - n or seq
    return pieces


def training_loss(model, pieces):
    """sum_i w_i (nll_i + z_loss lse_i^2) / sum_i w_i, and a dict of what the log shows of it."""
    c = model.c
    nll, lse, target = [], [], []
    for ids, modality in pieces:
        n, z = model.score(ids, modality)
        nll.append(n)
        lse.append(z)
        target.append(modality[1:])
    nll, lse, target = torch.cat(nll), torch.cat(lse), torch.cat(target)
    w = torch.tensor(c.loss_weights, dtype=torch.float64)[target]
    loss = (w * nll).sum() / w.sum()
    z_loss = c.z_loss * (w * lse ** 2).sum() / w.sum()
    log = {"loss": loss.item(), "z_loss": z_loss.item()}
    for m, name in enumerate(c.modalities):
        chosen = nll[target == m]
        log["loss_" + name] = chosen.mean().item() if len(chosen) else None
    return loss + z_loss, log, nll, lse


class AdamW:
    """Decoupled decay on matrices alone; clipping by the global norm of what is trained."""

    def __init__(self, model, lr, beta1=0.9, beta2=0.95, eps=1e-8, decay=0.1, clip=1.0, patterns=()):
        self.model, self.lr, self.betas, self.eps = model, lr, (beta1, beta2), eps
        self.decay, self.clip, self.t = decay, clip, 0
        self.factor = {n: 1.0 for n in model.w}
        for glob, value in patterns:  # the last that matches counts; 0 freezes
            for n in model.w:
                if fnmatch.fnmatchcase(n, glob):
                    self.factor[n] = value
        self.m = {n: torch.zeros_like(w) for n, w in model.w.items()}
        self.v = {n: torch.zeros_like(w) for n, w in model.w.items()}

    def norms(self):
        """Norms of the gradients: in all, by tower, and of what all towers share."""
        square = {}
        for n, w in self.model.w.items():
            if self.factor[n] != 0:
                tower = self.model.tower[n]
                key = "shared" if tower is None else self.model.c.towers[tower]
                square[key] = square.get(key, 0.0) + w.grad.pow(2).sum().item()
        log = {"grad_norm": math.sqrt(sum(square.values()))}
        for key in self.model.c.towers + ["shared"]:
            log["grad_norm_" + key] = math.sqrt(square.get(key, 0.0))
        return log

    def step(self, lr=None):
        """Update the weights by their gradients."""
        lr = self.lr if lr is None else lr
        norm = self.norms()["grad_norm"]
        scale = min(1.0, self.clip / (norm + 1e-6)) if self.clip > 0 else 1.0
        self.t += 1
        with torch.no_grad():
            for n, w in self.model.w.items():
                if self.factor[n] == 0:
                    continue
                g, (b1, b2), rate = w.grad * scale, self.betas, lr * self.factor[n]
                self.m[n].mul_(b1).add_(g * (1 - b1))
                self.v[n].mul_(b2).add_(g * g * (1 - b2))
                mean = self.m[n] / (1 - b1 ** self.t)
                root = (self.v[n] / (1 - b2 ** self.t)).sqrt()
                decay = self.decay if w.dim() == 2 else 0.0
                w -= rate * (mean / (root + self.eps) + decay * w)


def gradients(model, pieces):
    """Set every weight's .grad for a step over these pieces; returns the log's losses, nll and lse."""
    for w in model.w.values():
        w.grad = torch.zeros_like(w)
    total, log, nll, lse = training_loss(model, pieces)
    total.backward()
    return log, nll.detach(), lse.detach()


def save(path, tensors):
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, path)


def main():
    p = argparse.ArgumentParser(description="double-precision reference of the model")
    p.add_argument("folder")
    p.add_argument("dump")
    p.add_argument("--context", type=int, default=0, help="rows a window (max_position_embeddings)")
    p.add_argument("--stride", type=int, default=0, help="rows that windows move on (half of it)")
    p.add_argument("--grad", action="store_true", help="loss and gradient norms instead")
    p.add_argument("--seq", type=int, default=0, help="cut documents as sequences of so many rows do")
    p.add_argument("--save-grads", metavar="FILE")
    p.add_argument("--save-step", metavar="FILE")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--eps", type=float, default=1e-8)
    o = p.parse_args()
    model = Model(o.folder)
    docs = read_dump(o.dump, model.c)
    if not o.grad:
        context = o.context or model.c.positions
        stride = o.stride or (context + 1) // 2
        with torch.no_grad():
            for i, (ids, modality) in enumerate(docs):
                nll = score_document(model, ids, modality, context, stride).tolist()
                print(json.dumps({"doc": i, "ids": ids.tolist(), "nll": [None][:len(ids)] + nll}))
        return
    log = gradients(model, cut(docs, o.seq))[0]
    adam = AdamW(model, o.lr, eps=o.eps, decay=o.weight_decay, clip=o.clip)
    print(json.dumps({**log, **adam.norms()}))
    if o.save_grads:
        save(o.save_grads, {n: w.grad for n, w in model.w.items()})
    if o.save_step:
        adam.step()
        save(o.save_step, model.w)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
