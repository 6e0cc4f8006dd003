#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""convert.py - mot-convert against transformers on random models of every family.

    convert.py [--bin DIR] [--keep DIR] [-k WORD] [-v]

For each family, in one file and in several, in F32, F16 and BF16: transformers makes a model with random weights and
saves it; then

    nll      mot-convert --to mot, scored by mot-eval --per-token, against transformers' nll in double, absolute
    added    with --add-vocab and --copy: mot-convert --verify's max_delta_logit, which must be 0
    back     --to hf of that with --drop-vocab: every tensor equal to the last bit
    hf       that folder read by transformers again: difference of its logits, which must be 0
    old      config.json in the spelling of transformers 4 (rope_theta, rope_scaling): difference of nll, 0

Then the forms that transformers has no class for, made here by name from a random MoT: BAGEL, KempnerForge, the official
repository (with RoPE on neighbours); converted, they must give the MoT's tensors to the last bit, and the way back the
same names and values.  Last the families that are refused.  Exits 1 if anything is beyond its limit.  A tool for
developers: needs torch, transformers and safetensors.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

LIMITS = {"nll": 1e-4, "added": 0.0, "back": 0.0, "hf": 0.0, "old": 0.0}
SIZES = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
         "num_attention_heads": 6, "max_position_embeddings": 256, "initializer_range": 0.15}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}


def rope(theta, **scaling):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **scaling}}


VQ = {"vocabulary_map": {"<image>": 3, "IMGIMGAAZ": 4, "IMGIMGABZ": 5},
      "vq_config": {"base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1, "latent_channels": 32, "embed_dim": 32,
                    "num_embeddings": 16, "resolution": 16}}
FAMILIES = {
    "llama2": (hf.LlamaConfig, {"rms_norm_eps": 1e-5}),
    "llama-linear": (hf.LlamaConfig, {"num_key_value_heads": 2, **rope(10000.0, rope_type="linear", factor=2.0)}),
    "llama3.1": (hf.LlamaConfig, {"num_key_value_heads": 3, **rope(500000.0, **LLAMA3)}),
    "llama-bias": (hf.LlamaConfig, {"attention_bias": True, "num_key_value_heads": 3}),
    "smollm": (hf.LlamaConfig, {"num_key_value_heads": 3, "tie_word_embeddings": True}),
    "mistral": (hf.MistralConfig, {"num_key_value_heads": 2, "sliding_window": None, **rope(1e6)}),
    "mistral-window": (hf.MistralConfig, {"num_key_value_heads": 2, "sliding_window": 256}),
    "qwen2": (hf.Qwen2Config, {"num_key_value_heads": 2, **rope(1e6)}),
    "qwen2-tied": (hf.Qwen2Config, {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3": (hf.Qwen3Config, {"num_key_value_heads": 2, "head_dim": 16, **rope(1e6)}),
    "chameleon": (hf.ChameleonConfig, {"num_key_value_heads": 2, **VQ}),
    "chameleon-swin": (hf.ChameleonConfig, {"num_key_value_heads": 6, "swin_norm": True, **VQ}),
    "qwen3-tied": (hf.Qwen3Config, {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}),
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Programs:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)

    def __call__(self, name, *args, stdin=None, status=0):
        p = subprocess.run([os.path.join(self.folder, name), *map(str, args)], input=stdin, capture_output=True,
                           text=True, check=False)
        if p.returncode != status:
            raise RuntimeError(f"{name} {' '.join(map(str, args))}: exit {p.returncode}: {p.stderr.strip()}")
        return p.stdout if status == 0 else p.stderr


def tensors(folder):
    """All tensors of a folder, however many files it has."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            found.update(load_file(os.path.join(folder, name)))
    return found


def difference(a, b):
    """0 where two sets of tensors are the same to the last bit, infinity where names or types differ."""
    if set(a) != set(b) or any(a[k].dtype != b[k].dtype or a[k].shape != b[k].shape for k in a):
        return float("inf")
    return max(0.0 if torch.equal(a[k], b[k]) else max((a[k].double() - b[k].double()).abs().max().item(), 1e-300)
               for k in a)


def logits(folder, ids):
    """The logits of all ids: Chameleon's class hides those of pictures."""
    chameleon = hf.AutoConfig.from_pretrained(folder).model_type == "chameleon"
    cls = hf.ChameleonForConditionalGeneration if chameleon else hf.AutoModelForCausalLM
    model = cls.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        return model.lm_head(model.model(ids[None]).last_hidden_state)[0]


def score(run, folder, ids):
    """nll of ids[1:] by mot-eval."""
    line = json.dumps({"segments": [{"modality": "text", "ids": ids.tolist()}], "bytes": len(ids)}) + "\n"
    run("mot-tokenize", "-q", "--pack", "-t", folder, "-o", folder + ".mot", stdin=line)
    return torch.tensor(json.loads(run("mot-eval", "--per-token", folder, folder + ".mot"))["nll"][1:])


def spell_as_before(folder):
    """config.json as transformers 4 wrote it."""
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as f:
        c = json.load(f)
    p = c.pop("rope_parameters")
    c["rope_theta"] = p.pop("rope_theta")
    c["rope_scaling"] = None if p["rope_type"] == "default" else {"type": p.pop("rope_type"), **p}
    c["torch_dtype"] = c.pop("dtype")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(c, f)


def check_family(run, case, family, dtype, sharded):
    cls, extra = FAMILIES[family]
    torch.manual_seed(1)
    config = cls(**SIZES, **extra)
    chameleon = cls is hf.ChameleonConfig
    model = hf.ChameleonForConditionalGeneration(config) if chameleon else hf.AutoModelForCausalLM.from_config(config)
    leave = ("--allow-extra", "model.vqmodel.*") if chameleon else ()
    for name, w in model.named_parameters():  # norms of 1 and biases of 0 would hide mistakes
        if w.dim() == 1 or "_norm." in name:
            w.data = w.data + 0.3 * torch.randn(w.shape)
    model.to(DTYPES[dtype]).save_pretrained(case + "/in", max_shard_size="60KB" if sharded else "5GB")
    files = [f for f in os.listdir(case + "/in") if f.endswith(".safetensors")]
    assert (len(files) > 1) == sharded, files
    ids = torch.randint(0, SIZES["vocab_size"], (200,))
    expected = logits(case + "/in", ids)
    nll = expected[:-1].logsumexp(-1) - expected[:-1].gather(1, ids[1:, None])[:, 0]
    found = {}
    run("mot-convert", "-q", "--to", "mot", *leave, case + "/in", case + "/same")
    got = score(run, case + "/same", ids)
    found["nll"] = (got - nll).abs().max().item()
    run("mot-convert", "-q", "--to", "mot", "--add-vocab", "image=40", "--shard-size", "1G" if sharded else "50K",
        *leave, case + "/in", case + "/mot")
    report = run("mot-convert", "--verify", case + "/in", case + "/mot")
    found["added"] = float(dict(x.split("\t") for x in report.splitlines())["max_delta_logit"])
    run("mot-convert", "-q", "--to", "hf", "--drop-vocab", "image", case + "/mot", case + "/back")
    source = {k: w for k, w in tensors(case + "/in").items() if not k.startswith("model.vqmodel.")}
    found["back"] = difference(source, tensors(case + "/back"))
    found["hf"] = (logits(case + "/back", ids) - expected).abs().max().item()
    spell_as_before(case + "/in")
    run("mot-convert", "-q", "--to", "mot", *leave, case + "/in", case + "/old")
    found["old"] = (score(run, case + "/old", ids) - got).abs().max().item()
    return found


# ---- forms without a class ----

def neighbours(w, heads):
    """Rows for RoPE on halves, as rows for RoPE on neighbours."""
    rows = w.shape[0]
    return w.view(heads, 2, rows // heads // 2, -1).transpose(1, 2).reshape(w.shape)


def make_mot(case, post, r):
    """A folder of ours with two towers and nothing shared."""
    c = {**{k: v for k, v in SIZES.items() if k != "initializer_range"}, "modalities": ["text", "image"], "qk_norm": True,
         "norm_placement": "post" if post else "pre", "num_key_value_heads": 6 if post else 2, "head_dim": 8,
         "attention_bias": False}
    if r == "bagel":
        c.update({"attention_bias": True, "attention_out_bias": False})
    one_norm = r == "official"
    if one_norm:
        c["tower_of"] = {"final_norm": [0, 0]}
    os.makedirs(case)
    with open(case + "/config.json", "w", encoding="utf-8") as f:
        json.dump(c, f)
    with open(case + "/vocab.json", "w", encoding="utf-8") as f:
        json.dump({"version": 1, "modalities": [{"name": "text", "first": 0, "size": 60},
                                                {"name": "image", "first": 60, "size": 30}],
                   "special": {}, "digest": "0" * 16}, f)
    d, f, kv = SIZES["hidden_size"], SIZES["intermediate_size"], c["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (90, d), "lm_head.weight": (90, d)}
    for suffix in ("", "_image"):
        if not (one_norm and suffix):
            shapes[f"model.norm{suffix}.weight"] = (d,)
        for i in range(SIZES["num_hidden_layers"]):
            at = f"model.layers.{i}."
            for x, rows in (("q", 48), ("k", kv * 8), ("v", kv * 8)):
                shapes[f"{at}self_attn.{x}_proj{suffix}.weight"] = (rows, d)
                if c["attention_bias"]:
                    shapes[f"{at}self_attn.{x}_proj{suffix}.bias"] = (rows,)
            shapes[f"{at}self_attn.o_proj{suffix}.weight"] = (d, 48)
            shapes[f"{at}self_attn.q_norm{suffix}.weight"] = shapes[f"{at}self_attn.k_norm{suffix}.weight"] = (8,)
            for x, shape in (("gate", (f, d)), ("up", (f, d)), ("down", (d, f))):
                shapes[f"{at}mlp{suffix}.{x}_proj.weight"] = shape
            shapes[f"{at}input_layernorm{suffix}.weight"] = shapes[f"{at}post_attention_layernorm{suffix}.weight"] = (d,)
    torch.manual_seed(2)
    w = {k: torch.randn(s) for k, s in shapes.items()}
    save_file(w, case + "/model.safetensors", metadata={"format": "pt"})
    return w


def as_bagel(w):
    return {"language_model." + k.replace("_image", "_moe_gen"): x for k, x in w.items()}


def as_kempner(w):
    out = {}
    for k, x in w.items():
        tower = "image" if "_image" in k else "text"
        k = k.replace("_image", "").replace("model.", "")
        if k.startswith("layers."):
            for a, b in (("self_attn.", "attn."), ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "mlp_norm")):
                k = k.replace(a, b)
            k = k.replace("mlp.", f"mlp.{tower}.") if "mlp." in k else k.replace(".weight", f".{tower}.weight")
        k = {"embed_tokens.weight": "token_embedding.embedding.weight", "lm_head.weight": "output_head.proj.weight",
             "norm.weight": f"mot_norms.{tower}.weight"}.get(k, k)
        out[k] = x
    out["norm.weight"] = w["model.norm.weight"].clone()
    return out


def as_official(w):
    out = {}
    for k, x in w.items():
        tower = "1" if "_image" in k else "0"
        k = k.replace("_image", "").replace("model.", "")
        if "q_proj" in k or "k_proj" in k:
            x = neighbours(x, 6)
        if "q_norm" in k or "k_norm" in k:
            x = neighbours(x, 1)
        for a, b in (("q", "wq"), ("k", "wk"), ("v", "wv"), ("o", "wo")):
            k = k.replace(f"self_attn.{a}_proj.", f"attention.local_experts_{b}.{tower}.")
            k = k.replace(f"self_attn.{a}_norm.", f"attention.local_experts_{a}_normalization.{tower}.")
        for a, b in (("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")):
            k = k.replace(f"mlp.{a}", f"feed_forward.local_experts.{tower}.{b}")
        k = k.replace("input_layernorm", f"attention.local_experts_attention_norm.{tower}")
        k = k.replace("post_attention_layernorm", f"feed_forward.local_experts_ffn_norm.{tower}")
        k = {"embed_tokens.weight": "tok_embeddings.weight", "lm_head.weight": "output.weight"}.get(k, k)
        out[k] = x.contiguous()
    return out


def check_form(run, case, form):
    w = make_mot(case + "/mot", form == "official", form)
    theirs = {"bagel": as_bagel, "kempner": as_kempner, "official": as_official}[form](w)
    os.makedirs(case + "/theirs")
    names = ("ema.safetensors", "llm_config.json") if form == "bagel" else ("model.safetensors", "config.json")
    save_file(theirs, case + "/theirs/" + names[0])
    shutil.copy(case + "/mot/config.json", case + "/theirs/" + names[1])
    shutil.copy(case + "/mot/vocab.json", case + "/theirs")
    run("mot-convert", "-q", "--to", "mot", case + "/theirs", case + "/ours")
    found = {"back": difference(w, tensors(case + "/ours"))}
    run("mot-convert", "-q", "--to", form, case + "/ours", case + "/again")
    found["back"] = max(found["back"], difference(theirs, tensors(case + "/again")))
    report = run("mot-convert", "--verify", case + "/mot", case + "/ours")
    found["added"] = float(dict(x.split("\t") for x in report.splitlines())["max_delta_logit"])
    return found


def check_refused(run, case, kind):
    small = {"vocab_size": 90, "num_hidden_layers": 2}
    if kind == "gpt2":
        model = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=90, n_layer=2, n_embd=32, n_head=2))
    elif kind == "gemma2":
        model = hf.Gemma2ForCausalLM(hf.Gemma2Config(**small, hidden_size=32, intermediate_size=48, num_attention_heads=2,
                                                     num_key_value_heads=1, head_dim=16))
    elif kind == "mistral-short-window":
        model = hf.MistralForCausalLM(hf.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=64))
    elif kind == "llama-yarn":
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, **rope(1e4, rope_type="yarn", factor=2.0,
                                                                   original_max_position_embeddings=64)))
    else:
        model = hf.ChameleonForConditionalGeneration(hf.ChameleonConfig(**SIZES, **VQ))
    model.save_pretrained(case + "/in")
    said = run("mot-convert", "--to", "mot", case + "/in", case + "/out", status=1)
    assert len(said.splitlines()) == 1 and not os.path.exists(case + "/out"), said
    return said.strip().split(": ", 2)[2]


def main():
    p = argparse.ArgumentParser(description="mot-convert against transformers")
    p.add_argument("--bin", default=os.path.join(os.path.dirname(__file__), "../../bin"))
    p.add_argument("--keep", metavar="DIR", help="leave the cases here")
    p.add_argument("-k", metavar="WORD", default="", help="only cases whose name has this word")
    p.add_argument("-v", action="store_true", help="the refusals' words too")
    o = p.parse_args()
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    torch.set_num_threads(1)
    run, worst, bad = Programs(o.bin), {}, []
    cases = [(f"{f} {d}{' sharded' * s}", lambda case, f=f, d=d, s=s: check_family(run, case, f, d, s))
             for f in FAMILIES for s in (False, True) for d in DTYPES]
    cases += [(f, lambda case, f=f: check_form(run, case, f)) for f in ("bagel", "kempner", "official")]
    cases += [("refused " + k, lambda case, k=k: check_refused(run, case, k))
              for k in ("gpt2", "gemma2", "chameleon-whole", "mistral-short-window", "llama-yarn")]
    cases = [x for x in cases if o.k in x[0]]
    print("case", *(f"{k:>8}" for k in LIMITS), sep="\t")
    for name, check in cases:
        with tempfile.TemporaryDirectory() as scratch:
            case = os.path.join(o.keep, name.replace(" ", "-")) if o.keep else scratch + "/case"
            os.makedirs(case)
            try:
                found = check(case)
            except (RuntimeError, AssertionError) as e:
                bad.append(name)
                print(name, f"{type(e).__name__}: {e}", sep="\t", flush=True)
                continue
        if isinstance(found, str):
            print(name, found if o.v else "refused", sep="\t", flush=True)
            continue
        print(name, *(f"{found[k]:8.1e}" if k in found else "       -" for k in LIMITS), sep="\t", flush=True)
        for k, x in found.items():
            worst[k] = max(worst.get(k, 0.0), x)
            if not x <= LIMITS[k] and name not in bad:
                bad.append(name)
    print("\nlargest\t" + "\t".join(f"{k} {x:.2e}" for k, x in worst.items()))
    print(f"{len(cases) - len(bad)} good, {len(bad)} bad{': ' * bool(bad)}{', '.join(bad)}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
