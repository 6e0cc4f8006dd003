#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_golden.py - write the golden folders beside this file, which tests/unit/test_golden.c reads.

Each is a model folder (config.json, vocab.json, model.safetensors) with random weights and golden.safetensors:

    id, target  I32 (rows)       a batch in sequence order
    piece       I64 (pieces + 1) where its pieces begin; the last is rows
    nll, lse    F64 (rows)       of each row
    loss        F64 (1)          sum_i w_i (nll_i + z_loss lse_i^2) / sum_i w_i, w_i by the target's modality
    grad.NAME   F32              the gradient of that loss for each tensor

and where pictures are vectors also, for piece 0 alone: at_picture I64 (first row, rows and columns of patches), latent F32
(vectors at their level of noise), aim F32 (what is to be told of them), time F64 (1); nll of a patch is its mean squared error,
the loss has the mean of
these times the modality's weight beside it, and rows before and behind a patch predict nothing: their nll is 0

computed by reference.py in double.  The same every time; run it after a change of what the model means.
"""
import json
import os
import random
import sys

import torch
from safetensors.torch import save_file

sys.dont_write_bytecode = True
import parity
import reference

COMMON = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "rope_theta": 10000.0,
          "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_bias": False, "qk_norm": False,
          "norm_placement": "pre"}
CASES = {
    "dense": {"modalities": ["text", "image"], "towers": ["text"]},
    "post": {"modalities": ["text", "image", "speech"], "norm_placement": "post", "num_hidden_layers": 1},
    "heads": {"modalities": ["text", "image", "speech"], "num_hidden_layers": 1, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_dim": 6, "qk_norm": True, "attention_bias": True,
              "rope_theta": 100.0, "loss_weights": [1.0, 0.5, 2.0]},
    "shared": {"modalities": ["text", "image", "speech", "depth"], "towers": ["a", "b"],
               "tower_of": {"attn_qkv": [0, 1, 1, 0], "attn_o": [1, 1, 1, 1], "attn_norm": [0, 0, 1, 1],
                            "qk_norm": [1, 0, 1, 0], "ffn": [0, 1, 0, 1], "ffn_norm": [0, 0, 0, 0],
                            "final_norm": [0, 1, 1, 1]},
               "qk_norm": True, "tie_word_embeddings": True, "z_loss": 0.01, "num_key_value_heads": 1},
    "all": {"modalities": ["text", "image", "speech"], "norm_placement": "post", "qk_norm": True,
            "num_hidden_layers": 1, "hidden_size": 18, "num_attention_heads": 3, "num_key_value_heads": 1,
            "head_dim": 4, "attention_bias": True, "attention_out_bias": False, "tie_word_embeddings": True,
            "tower_of": {"ffn": [0, 1, 0], "final_norm": [0, 0, 0]}, "z_loss": 0.1, "rms_norm_eps": 0.01,
            "loss_weights": [0.25, 1.5, 0.0]},
}
VECTORS = {"modalities": ["text", "image", "speech"], "latent_sizes": {"image": 5}, "loss_weights": [1.0, 5.0, 0.5],
           "num_hidden_layers": 1, "hidden_size": 12, "head_dim": 6}
UNET = {**VECTORS, "latent_sizes": {"image": 12}, "unet": {"channels": 5, "blocks": 2, "patch_size": 2}}


def write_golden(folder, keys, seed):
    r = random.Random(seed)
    sizes = [14, 9, 7, 5][:len(keys["modalities"])]
    c = {**COMMON, **keys, "vocab_size": sum(sizes)}
    os.makedirs(folder, exist_ok=True)
    parity.write_folder(folder, c, sizes, seed)
    model = reference.Model(folder)
    # Pieces of many lengths, one of a single row, one without the second modality's inputs.
    docs = [[r.randrange(c["vocab_size"]) for _ in range(n)] for n in (12, 2, 31, 6)]
    docs.append([i % sizes[0] for i in range(9)])
    pieces = [(torch.tensor(d), torch.tensor([parity.modality_of(i, sizes) for i in d])) for d in docs]
    log, nll, lse = reference.gradients(model, pieces)
    begin = [0]
    for d in docs:
        begin.append(begin[-1] + len(d) - 1)
    golden = {
        "id": torch.tensor([i for d in docs for i in d[:-1]], dtype=torch.int32),
        "target": torch.tensor([i for d in docs for i in d[1:]], dtype=torch.int32),
        "piece": torch.tensor(begin),
        "nll": nll, "lse": lse, "loss": torch.tensor([log["loss"] + log["z_loss"]]),
    }
    golden.update({"grad." + n: w.grad.float() for n, w in model.w.items()})
    save_file(golden, os.path.join(folder, "golden.safetensors"))


def write_vectors(folder, keys, seed):
    """Two pieces: words around a picture of six vectors, and words alone."""
    r, sizes = torch.Generator().manual_seed(seed), [14, 1, 7]
    c = {**COMMON, **keys, "vocab_size": sum(sizes)}
    os.makedirs(folder, exist_ok=True)
    parity.write_folder(folder, c, sizes, seed)
    model = reference.Model(folder)
    docs = [[3, 15, 9, 2] + [14] * 6 + [4, 17, 5], [6, 20, 1, 8]]
    x, aim = (torch.randn(6, keys["latent_sizes"]["image"], generator=r, dtype=torch.float32) for _ in range(2))
    time, begin, columns, weights = 371.0, 4, 3, c["loss_weights"]
    picture = (begin, x.double(), time, columns)
    rows, sum_weights, loss, lse = [], 0, 0, []
    for k, d in enumerate(docs):
        ids = torch.tensor(d)
        modality = torch.tensor([parity.modality_of(i, sizes) for i in d])
        hidden = model.hidden(ids[:-1], modality[:-1], [picture] if k == 0 else [])
        told = model.told(hidden[begin:begin + 6], picture) if k == 0 else None
        logits = model.head(hidden)
        for i in range(len(d) - 1):
            lse.append(logits[i].logsumexp(-1))
            if modality[i] == 1:
                rows.append((told[i - begin] - aim[i - begin].double()).pow(2).mean())
                loss = loss + weights[1] / 6 * rows[-1]
            elif modality[i + 1] == 1:
                rows.append(torch.zeros(()))
            else:
                rows.append(lse[-1] - logits[i, d[i + 1]])
                sum_weights += weights[modality[i + 1]]
    ids_loss, at = 0, 0
    for d in docs:
        for i in range(len(d) - 1):
            if d[i] != 14 and d[i + 1] != 14:
                ids_loss = ids_loss + weights[parity.modality_of(d[i + 1], sizes)] * rows[at + i]
        at += len(d) - 1
    loss = loss + ids_loss / sum_weights
    loss.backward()
    golden = {
        "id": torch.tensor([i for d in docs for i in d[:-1]], dtype=torch.int32),
        "target": torch.tensor([i for d in docs for i in d[1:]], dtype=torch.int32),
        "piece": torch.tensor([0, len(docs[0]) - 1, sum(len(d) - 1 for d in docs)]),
        "at_picture": torch.tensor([begin, 2, columns]), "latent": x.flatten(), "aim": aim.flatten(),
        "time": torch.tensor([time]), "nll": torch.stack(rows).detach(), "lse": torch.stack(lse).detach(),
        "loss": loss.detach()[None],
    }
    golden.update({"grad." + n: w.grad.float() for n, w in model.w.items()})
    save_file(golden, os.path.join(folder, "golden.safetensors"))


def main():
    torch.set_default_dtype(torch.float64)
    here = os.path.dirname(os.path.abspath(__file__))
    for seed, (name, keys) in enumerate(CASES.items()):
        write_golden(os.path.join(here, name), keys, seed)
    write_vectors(os.path.join(here, "vectors"), VECTORS, len(CASES))
    write_vectors(os.path.join(here, "unet"), UNET, len(CASES) + 1)


if __name__ == "__main__":
    main()
