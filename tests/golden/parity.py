#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""parity.py - compare the programs with the double-precision reference on random models.

    parity.py [-n COUNT] [--seed FIRST] [--bin DIR] [--keep DIR] [-v]

Each seed makes a model with every switch thrown at random (norm placement, QK-norm, grouped queries, head_dim,
biases, tying, z-loss, loss weights, modalities, towers and their maps), random weights, a vocabulary and
documents; writes them as a folder and a shard; and compares with reference.py:

    nll     mot-eval --per-token, absolute (windows of a shorter context too)
    loss    mot-train's first step: loss, z_loss, loss of each modality, relative
    norm    grad_norm, grad_norm of each tower and of what is shared, relative
    move    every weight's first AdamW step, in units of the learning rate, beyond what an error explains of 1e-5 of
            the tensor's largest gradient and 1e-6 of the model's
    later   losses and grad_norm of some steps with documents cut by --seq, accumulation, a schedule, frozen
            and slowed tensors, relative
    hf      dense models: nll of transformers' Llama, Qwen2 or Qwen3, reading the folder mot-train wrote

It prints a line a seed, then the largest differences, and exits 1 if one is above its limit.  A tool for
developers: needs numpy, safetensors, torch and transformers.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

import reference

LIMITS = {"nll": 1e-4, "loss": 1e-4, "norm": 1e-4, "move": 1e-3, "later": 1e-3, "hf": 1e-4}
NAMES = ["text", "image", "speech", "depth"]


def make_config(r):
    """A random config.json, and the sizes of the modalities' id ranges."""
    n = r.choice([1, 2, 2, 3, 3, 3, 4])
    sizes = [r.randint(8, 60)] + [r.randint(1, 40) for _ in range(n - 1)]
    kv = r.choice([1, 1, 2, 3])
    heads = kv * r.choice([1, 1, 2, 3])
    head_dim = r.choice([2, 4, 6, 8, 16, 32])
    hidden = heads * head_dim if r.random() < 0.4 else r.choice([8, 12, 20, 33, 64])
    c = {
        "hidden_size": hidden,
        "intermediate_size": r.choice([7, 16, 48, 96]),
        "num_hidden_layers": r.choice([1, 1, 2, 3]),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": head_dim,
        "vocab_size": sum(sizes),
        "max_position_embeddings": 1024,
        "rope_theta": r.choice([100.0, 10000.0, 500000.0]),
        "rms_norm_eps": r.choice([1e-6, 1e-5, 1e-2]),
        "tie_word_embeddings": r.random() < 0.4,
        "attention_bias": r.random() < 0.4,
        "qk_norm": r.random() < 0.5,
        "norm_placement": r.choice(["pre", "post"]),
        "modalities": NAMES[:n],
    }
    if r.random() < 0.5:
        c["z_loss"] = r.choice([1e-4, 1e-2])
    if r.random() < 0.5:
        c["loss_weights"] = [round(r.uniform(0.1, 3), 2) for _ in range(n)]
    if r.random() < 0.2:
        c["attention_out_bias"] = r.random() < 0.5
    if c["norm_placement"] == "pre" and r.random() < 0.1:
        c["intermediate_size"] = 1  # in post, a norm would blow up the rounding of a single number
    kind = r.choice(["dense", "mot", "maps", "maps", "maps"])
    if kind == "dense":
        c["towers"] = ["text"]
    elif kind == "mot" and r.random() < 0.5:
        c["towers"] = NAMES[:n]
    elif kind == "maps":
        towers = r.randint(1, n)
        c["towers"] = [["text", "second", "third", "fourth"][t] for t in range(towers)]
        c["tower_of"] = {x: [r.randrange(towers) for _ in range(n)] for x in reference.COMPONENTS
                         if towers < n or r.random() < 0.8}
    if c.get("towers", c["modalities"]) == ["text"] and r.random() < 0.7:  # one that transformers knows
        c["norm_placement"] = "pre"
        c.pop("attention_out_bias", None)
        if not c["qk_norm"] and c["attention_bias"] and r.random() < 0.5:
            c["attention_out_bias"] = False  # Qwen2
    return c, sizes


def make_weights(c, seed):
    """Large enough that every part matters and differs between towers, small enough for logits of a few units."""
    g = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (shape, _) in reference.Config(c).tensors().items():
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        if "norm" in name:
            x = 1 + 0.3 * x
        elif name.endswith("bias"):
            x = 0.3 * x
        elif name == "model.embed_tokens.weight":
            x = x * (2.0 / shape[1] ** 0.5 if c["tie_word_embeddings"] else 1.0)
        else:  # attention that is neither even nor all on one token
            x = (0.7 if "q_proj" in name or "k_proj" in name else 1.5) * x / shape[1] ** 0.5
        weights[name] = x.float().contiguous()
    return weights


def make_docs(r, sizes, count):
    """Documents with runs of modalities, as lists of ids."""
    first = [sum(sizes[:m]) for m in range(len(sizes))]
    docs = []
    for _ in range(count):
        ids = []
        while len(ids) < r.choice([2, 3, 10, 40, 90, 400]):
            m = r.randrange(len(sizes))
            ids += [first[m] + r.randrange(sizes[m]) for _ in range(r.choice([1, 2, 5, 20]))]
        docs.append(ids)
    return docs


def modality_of(i, sizes):
    return next(m for m in range(len(sizes)) if i < sum(sizes[:m + 1]))


def segments(ids, sizes):
    """A line of the dump: maximal runs of a modality."""
    runs = []
    for i in ids:
        m = modality_of(i, sizes)
        if not runs or runs[-1]["modality"] != NAMES[m]:
            runs.append({"modality": NAMES[m], "ids": []})
        runs[-1]["ids"].append(i)
    return {"segments": runs, "bytes": len(ids)}


def write_folder(folder, c, sizes, seed):
    """A model folder with random weights and a vocabulary."""
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f, indent=1)
        f.write("\n")
    save_file(make_weights(c, seed), os.path.join(folder, "model.safetensors"))
    vocab = {"version": 1, "special": {"bos": 0, "eos": 1}, "digest": f"{seed:016x}",
             "modalities": [{"name": NAMES[m], "first": sum(sizes[:m]), "size": n,
                             **({"width": c["latent_sizes"][NAMES[m]]} if NAMES[m] in c.get("latent_sizes", {}) else {})}
                            for m, n in enumerate(sizes)]}
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump(vocab, f)
        f.write("\n")


def write_case(folder, seed):
    """folder/model, folder/dump.jsonl; returns the config, the documents and their generator."""
    r = random.Random(seed)
    c, sizes = make_config(r)
    os.makedirs(folder + "/model")
    write_folder(folder + "/model", c, sizes, seed)
    docs = make_docs(r, sizes, r.choice([1, 2, 5, 9]))
    with open(folder + "/dump.jsonl", "w", encoding="utf-8") as f:
        for ids in docs:
            f.write(json.dumps(segments(ids, sizes)) + "\n")
    return c, docs, r


class Programs:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)

    def __call__(self, name, *args, stdin=None):
        p = subprocess.run([os.path.join(self.folder, name), *map(str, args)], stdin=stdin,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if p.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(map(str, args))}: exit {p.returncode}: {p.stderr.strip()}")
        return p.stdout


def relative(found, expected):
    if found is None or expected is None:
        return 0.0 if found is expected else float("inf")
    return abs(found - expected) / max(abs(expected), 1e-12) if found != expected else 0.0


def compare_eval(run, case, model, docs, context, stride):
    """Largest difference of nll between mot-eval --per-token and the reference."""
    lines = run("mot-eval", "--per-token", "--context", context, "--stride", stride,
                case + "/model", case + "/shard.mot").splitlines()
    assert len(lines) == len(docs)
    worst = 0.0
    with torch.no_grad():
        for i, (line, (ids, modality)) in enumerate(zip(lines, docs)):
            found = json.loads(line)
            assert found["doc"] == i and found["ids"] == ids.tolist() and found["nll"][0] is None
            expected = reference.score_document(model, ids, modality, context, stride)
            got = torch.tensor(found["nll"][1:], dtype=torch.float64)
            if len(ids) > 1:
                worst = max(worst, (got - expected).abs().max().item())
    return worst


def move_error(old, new, gradient, adam, scale, slack):
    """How far new lies outside what gradients that are off by slack explain, in learning rates."""
    g = gradient * scale
    decay = adam.decay if old.dim() == 2 else 0.0

    def after(x):
        return old - adam.lr * (x / (x.abs() + adam.eps) + decay * old)

    low, high = after(g + slack), after(g - slack)
    rounding = 2e-7 * old.abs()
    outside = torch.maximum(low - rounding - new, new - high - rounding).clamp(min=0)
    return (outside / adam.lr).max().item()


def compare_step(run, case, model, docs, options):
    """First step over all documents whole: differences of losses, of norms, of moves."""
    rows = sum(len(ids) - 1 for ids, _ in docs)
    out = case + "/run"
    log = json.loads(run("mot-train", "-q", "--init", case + "/model", "-o", out, "--steps", 1, "--batch", 1,
                         "--seq", rows, *options, case + "/shard.mot").splitlines()[0])
    model_log = reference.gradients(model, reference.cut(docs, 0))[0]
    o = dict(zip(options[::2], options[1::2]))
    adam = reference.AdamW(model, o["--lr"], decay=o["--weight-decay"], clip=o["--clip"])
    norms = adam.norms()
    losses = max(relative(log.get(k, 0.0), model_log[k]) for k in model_log)
    norm = relative(log["grad_norm"], norms["grad_norm"])
    for k, expected in norms.items():
        if k in log or len(model.c.towers) > 1:  # a tower's may be rounding alone
            norm = max(norm, abs(log[k] - expected) / max(expected, 1e-2 * norms["grad_norm"]))
    scale = min(1.0, adam.clip / (norms["grad_norm"] + 1e-6)) if adam.clip > 0 else 1.0
    new = load_file(out + "/model.safetensors")
    assert set(new) == set(model.w)
    largest = max(w.grad.abs().max().item() for w in model.w.values())
    move = max(move_error(w.detach(), new[n].double(), w.grad, adam, scale,
                          scale * (1e-5 * w.grad.abs().max() + 1e-6 * largest)) for n, w in model.w.items())
    return losses, norm, move


def batches(docs, batch, seq, count):
    """The first `count` batches of the documents in order, as lists of pieces; fewer if data are short."""
    found, pieces, rows = [], [], 0
    for piece in reference.cut(docs, seq):
        pieces.append(piece)
        rows += len(piece[0]) - 1
        if rows == batch * seq:
            found.append(pieces)
            pieces, rows = [], 0
    return found[:count]


def compare_run(run, case, docs, r):
    """Some steps over the documents in order, cut by --seq: differences of losses and of grad_norm."""
    model = reference.Model(case + "/model")
    rows = sum(len(ids) - 1 for ids, _ in docs)
    accumulate, batch = r.choice([1, 1, 2]), r.randint(1, 3)
    seq = r.randint(1, max(1, min(100, rows // (3 * accumulate * batch))))
    data = batches(docs, batch, seq, 4 * accumulate)
    steps = len(data) // accumulate
    if steps == 0:
        return None
    glob, factor = r.choice(["*_proj*", "model.layers.0.*", "*norm*", "*_*.weight"]), r.choice([0, 0.5, 3.0])
    # eps is large, or rounding alone would decide the sign of the first moves of small gradients
    adam = reference.AdamW(model, 0.0, beta1=r.choice([0.9, 0.5]), beta2=r.choice([0.95, 0.999]), eps=1e-2,
                           decay=r.choice([0.0, 0.3]), clip=r.choice([0.5, 2.0, 0.0]), patterns=[(glob, factor)])
    log = run("mot-train", "-q", "--init", case + "/model", "-o", case + "/run2", "--steps", steps,
              "--batch", batch, "--seq", seq, "--accumulate", accumulate, "--shuffle", 0, "--lr", 0.02,
              "--schedule", r.choice(["cosine", "linear", "constant"]), "--warmup", r.choice([0, 2]),
              "--beta1", adam.betas[0], "--beta2", adam.betas[1], "--eps", adam.eps, "--clip", adam.clip,
              "--weight-decay", adam.decay, *(["--freeze", glob] if factor == 0 else ["--lr-scale", f"{glob}={factor}"]),
              case + "/shard.mot").splitlines()
    worst = 0.0
    for i, line in enumerate(log):
        found = json.loads(line)
        expected = reference.gradients(model, sum(data[i * accumulate:(i + 1) * accumulate], []))[0]
        expected["grad_norm"] = adam.norms()["grad_norm"]
        worst = max([worst] + [relative(found.get(k, 0.0), expected[k]) for k in expected])
        adam.step(found["lr"])
    assert len(log) == steps
    return worst


def hf_class(c):
    """The class of transformers that computes the same, or None."""
    import transformers
    if len(c.get("towers", c["modalities"])) > 1 or c["norm_placement"] == "post":
        return None
    out = c.get("attention_out_bias", c["attention_bias"])
    if c["qk_norm"]:
        return transformers.Qwen3ForCausalLM if out == c["attention_bias"] else None
    if c["attention_bias"] and not out:
        return transformers.Qwen2ForCausalLM
    if c["hidden_size"] % c["num_attention_heads"]:  # transformers' Llama refuses
        return None
    return transformers.LlamaForCausalLM if out == c["attention_bias"] else None


def compare_hf(folder, c, model, docs):
    """Largest difference of nll of transformers in double from the reference; None: no such family."""
    if hf_class(c) is None:
        return None
    import transformers
    transformers.logging.set_verbosity_error()
    hf = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64,
                                                           attn_implementation="eager")
    assert isinstance(hf, hf_class(c)), type(hf)
    worst = 0.0
    with torch.no_grad():
        for ids, modality in docs:
            if len(ids) > 1:
                logits = hf(ids[None, :-1]).logits[0]
                nll = logits.logsumexp(-1) - logits.gather(1, ids[1:, None])[:, 0]
                worst = max(worst, (nll - model.score(ids, modality)[0]).abs().max().item())
    return worst


def check(run, case, seed):
    c, ids, r = write_case(case, seed)
    with open(case + "/dump.jsonl", encoding="utf-8") as f:
        packed = subprocess.run([run.folder + "/mot-tokenize", "--pack", "-t", case + "/model", "-o",
                                 case + "/shard.mot"], stdin=f, stderr=subprocess.PIPE, text=True, check=False)
    if packed.returncode != 0:
        raise RuntimeError("mot-tokenize --pack: " + packed.stderr.strip())
    model = reference.Model(case + "/model")
    docs = reference.read_dump(case + "/dump.jsonl", model.c)
    assert [d[0].tolist() for d in docs] == ids
    threads = ("--threads", r.choice([1, 2]))
    found = {"nll": compare_eval(run, case, model, docs, 1024, 512)}
    context = r.randint(2, 30)
    found["nll"] = max(found["nll"], compare_eval(run, case, model, docs, context, r.randint(1, context)))
    options = ("--lr", r.choice([1e-3, 1e-2]), "--weight-decay", r.choice([0.0, 0.1, 0.5]),
               "--clip", r.choice([0.0, 0.1, 1.0]), "--schedule", "constant") + threads
    if sum(len(d) - 1 for d in ids) > 0:
        found["loss"], found["norm"], found["move"] = compare_step(run, case, model, docs, options)
        found["later"] = compare_run(run, case, docs, r)
    if hf_class(c) is not None:
        run("mot-train", "-q", "--init", case + "/model", "-o", case + "/hf", "--steps", 0, case + "/shard.mot")
        found["hf"] = compare_hf(case + "/hf", c, model, docs)
    return c, found


def describe(c):
    n = len(c["modalities"])
    towers = c.get("towers", c["modalities"])
    maps = "own maps" if "tower_of" in c else ""
    return " ".join(x for x in (
        c["norm_placement"], f"{n}m{len(towers)}t", maps, f"d{c['hidden_size']} L{c['num_hidden_layers']}",
        f"{c['num_attention_heads']}/{c['num_key_value_heads']}x{c['head_dim']}", "qk" * c["qk_norm"],
        "bias" * c["attention_bias"], "tied" * c["tie_word_embeddings"],
        f"z{c['z_loss']}" if c.get("z_loss") else "", "w" if "loss_weights" in c else "") if x)


def main():
    p = argparse.ArgumentParser(description="compare the programs with the reference on random models")
    p.add_argument("-n", type=int, default=20, help="how many models")
    p.add_argument("--seed", type=int, default=0, help="of the first")
    p.add_argument("--bin", default=os.path.join(os.path.dirname(__file__), "../../bin"))
    p.add_argument("--keep", metavar="DIR", help="leave the cases here")
    p.add_argument("-v", action="store_true", help="tell each model's switches")
    o = p.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    run, worst, failed = Programs(o.bin), {}, []
    columns = list(LIMITS)
    print("seed", *(f"{k:>8}" for k in columns), sep="\t")
    for seed in range(o.seed, o.seed + o.n):
        with tempfile.TemporaryDirectory() as scratch:
            case = os.path.join(o.keep, str(seed)) if o.keep else scratch + "/case"
            os.makedirs(case)
            try:
                c, found = check(run, case, seed)
            except RuntimeError as e:
                failed.append(seed)
                print(seed, e, sep="\t", flush=True)
                continue
        print(seed, *(f"{found[k]:8.1e}" if found.get(k) is not None else "       -" for k in columns),
              *([describe(c)] if o.v else []), sep="\t", flush=True)
        for k, x in found.items():
            if x is None:
                continue
            if not x <= worst.get(k, (-1, 0))[0]:
                worst[k] = (x, seed)
            if not x <= LIMITS[k] and seed not in failed:
                failed.append(seed)
    print("\nlargest\tvalue\tlimit\tseed")
    for k, (x, seed) in worst.items():
        print(f"{k}\t{x:.2e}\t{LIMITS[k]:.0e}\t{seed}")
    print(f"{o.n - len(failed)} good, {len(failed)} bad{': seeds ' if failed else ''}{' '.join(map(str, failed))}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
