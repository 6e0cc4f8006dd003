#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Remake the golden tokenizers: small tokenizer.json files of every family that lib/token reads, learned by Hugging
Face's `tokenizers` from the text below, and what that library makes of some texts.  Development only; needs the
`tokenizers` package (made with 0.23.3).

NAME.json is the tokenizer; each line of NAME.jsonl has "text", its "ids", "special" (the ids with what the
post-processor adds) and, where the text is whole again, "decoded".
"""
import json, os, random
import families as f
from tokenizers import Regex, Tokenizer, AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """A mixture of transformers gives each modality its own weights, and lets all of them attend to all of the sequence.
The text tower reads words; the image tower sees patches; the speech tower hears units. They don't share norms, they'll share
attention, and we've measured what it's worth: 55 percent of the steps, 37 percent of the operations, 3 towers, 2048 positions.
def attend(q, k, v):  # one head
    scores = q @ k.T / sqrt(d)
    return softmax(scores) @ v
Der Zug fährt über die Brücke, und die Kinder zählen größere Äpfel. L'été, où l'élève a reçu une leçon très brève.
Быстрая лиса прыгает через ленивую собаку; слова и звуки. Η γρήγορη αλεπού. السلام عليكم ورحمة الله. שלום עולם.
快速的棕色狐狸跳过懒狗。今天天气很好，我们去公园。日本語の文章をここに書きます。カタカナも。 한국어 문장도 있습니다.
हिन्दी में एक वाक्य। ภาษาไทย Tiếng Việt có dấu. 1234567890 3.14159 2026-01-01 🙂🙂🚀 naïve café résumé
"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HERE = os.path.dirname(os.path.abspath(__file__))
LINES = CORPUS.splitlines(True)


def learn(tokenizer, size, special, alphabet=()):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet),
                                  min_frequency=2, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)


def byte_level(pieces, size, special, normalizer=None):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pieces
    t.decoder = decoders.ByteLevel()
    learn(t, size, special, pre_tokenizers.ByteLevel.alphabet())
    return t


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def letters():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def pieces_like(size, fuse_unk=True, fallback=True, cross=False):
    """A SentencePiece-like vocabulary: specials, 256 byte tokens, characters, merges over words that start with U+2581,
    or, to cross, over whole lines: then tokens have U+2581 in their middle."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse_unk, byte_fallback=fallback))
    t.pre_tokenizer = None if cross else pre_tokenizers.Metaspace(prepend_scheme="always")
    if cross:
        t.normalizer = normalizers.Replace(" ", "▁")
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)] * fallback
    learn(t, size, special)
    j = json.loads(t.to_str())
    j["added_tokens"] = j["added_tokens"][:3]
    j["model"].update(byte_fallback=fallback, fuse_unk=fuse_unk, unk_token="<unk>")
    j["pre_tokenizer"] = None
    return j


def template(j, before, after=()):
    ids = {**j["model"]["vocab"], **{a["content"]: a["id"] for a in j["added_tokens"]}}
    def token(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}
    single = [token(b) for b in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [token(a) for a in after]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [ids[n]], "tokens": [n]} for n in [*before, *after]}}


def build():
    out = {}
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), 420, ["<|endoftext|>"])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    out["gpt2"] = json.loads(t.to_str())

    t = byte_level(pre_tokenizers.Sequence([split(LLAMA3), letters()]), 420, ["<|bos|>", "<|eos|>", "<|boi|>", "<|eoi|>"])
    out["ours"] = json.loads(t.to_str())  # as lib/token/bpe_learn.c learns it

    j = json.loads(t.to_str())
    j["model"]["ignore_merges"] = True
    j["model"]["merges"] = j["model"]["merges"][: len(j["model"]["merges"]) // 2]
    j["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template(j, ["<|bos|>"], ["<|eos|>"])]}
    out["llama3"] = j

    t = byte_level(pre_tokenizers.Sequence([split(LLAMA3.replace("{1,3}", "")), letters()]), 400, ["<|endoftext|>"],
                   normalizers.NFC())
    t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False),
                  AddedToken("<|strip|>", normalized=False, lstrip=True, rstrip=True),
                  AddedToken("word", normalized=True, single_word=True)])
    out["qwen"] = json.loads(t.to_str())

    out["o200k"] = json.loads(byte_level(pre_tokenizers.Sequence([split(O200K, "removed", True), letters()]), 400,
                                         ["<|endoftext|>"]).to_str())

    t = byte_level(pre_tokenizers.Sequence([
        split("[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-Ϗ]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
        split(r"\s+$"), split("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(individual_digits=True), letters()]), 400,
        ["<|begin_of_sentence|>"])
    out["deepseek"] = json.loads(t.to_str())

    j = pieces_like(700)
    j["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    j["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    j["post_processor"] = template(j, ["<s>"])
    out["llama2"] = j

    out["unknown"] = pieces_like(400, fallback=False)  # runs of unknown characters fused; no decoder

    j = pieces_like(420, fallback=False, fuse_unk=False)
    j["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    j["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    out["metaspace"] = j

    j = pieces_like(700, cross=True)
    j["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    j["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    j["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    j["post_processor"] = template(j, ["<s>"])
    n = max(j["model"]["vocab"].values()) + 1
    for i, content in enumerate(["\n\n", "▁▁▁▁▁▁▁▁▁", "<start_of_turn>"]):
        j["added_tokens"].append({"id": n + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                                  "normalized": False, "special": i == 2})
    out["gemma"] = j
    out.update(rarer())
    return out


def of_bytes(name, **parts):
    """One of families.py with a small vocabulary, learned over whole lines, so that cuts of any kind tell."""
    t = byte_level(letters(), 420, ["<s>", "</s>"])
    model = json.loads(t.to_str())["model"]
    j = dict(next(j for n, j in f.build() if n == name))
    tokens = [(a["content"], {k: v for k, v in a.items() if k not in ("id", "content")}) for a in j["added_tokens"]]
    j.update({k: v for k, v in f.file({**model, "ignore_merges": j["model"]["ignore_merges"]}, tokens=tokens[:20]).items()
              if k in ("model", "added_tokens")}, **parts)
    return j


def rarer():
    """The parts that fewer families have."""
    out = {}
    for name in ("falcon", "bloom", "kimi", "deepseek3"):
        out[name] = of_bytes(name, post_processor=None)
    out["chameleon"] = of_bytes("chameleon")
    out["chameleon"]["post_processor"] = template(out["chameleon"], ["<s>"])
    out["flags"] = of_bytes("added flags lower", normalizer=f.norm({"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}))
    out["flags"]["added_tokens"] += [{**a, "id": a["id"] + 3, "content": c} for c, a in
                                     zip(["Word", "Ünd", "  "], out["flags"]["added_tokens"][-3:])]
    model = json.loads(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), 420, []).to_str())["model"]
    out["clip"] = f.file({**f.affixed(model, None, "</w>"), "unk_token": "!"},
                         f.norm({"type": "NFC"}, f.replace(r"\s+", " ", "Regex"), {"type": "Lowercase"}),
                         f.pre(f.split(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "Removed", True), f.byte_level()),
                         None, {"type": "BPEDecoder", "suffix": "</w>"}, ["<|startoftext|>"])
    model = pieces_like(300, fallback=False, fuse_unk=False)["model"]
    out["prefix"] = f.file(f.affixed(model, "##", "</w>"), {"type": "NFKC"}, f.pre({"type": "BertPreTokenizer"}, {"type": "Whitespace"}), None,
                           f.dec({"type": "BPEDecoder", "suffix": "</w>"}, f.replace("##", "")))
    return out


def texts():
    rng = random.Random(20)
    some = ["", " ", "  ", "\n", "a", " a", "a ", "Hello, world!", "don't DON'T don’t we'LL it'ſ", "x" * 300, " " * 200,
            "\t\tif (a <= b) {\r\n\r\n    return 12345678;\n}\n", "<|endoftext|>", "<|bos|>hello<|eos|> and <|boi|><|eoi|>",
            "<s>hi</s> <unk> <0x0A>", "a <|strip|>  b<|strip|>", "words word word. sword", "<think>x</think>\n\n▁▁▁y",
            "e\u0301 \u1100\u1161\u11a8 \ufb01 \u2126 a\u0323\u0307 a\u0307\u0323", "\u180e\u00a0\u3000\u2003\u0085x",
            "a\u0345\u08d3\u0301 e\u1abf\u0301 \u0c95\u0345\u0c3c \U00011935\U00011930",
            "\ufeffbom \u200b \u200d", "𝔘𝔫𝔦 \U0001f469\u200d\U0001f4bb \U0001e4d0 \U00031350 \U0010ffff\x00", *LINES]
    pools = [" \t\n\r'stmdrevl.,!?0123456789abcXYZ_-<>|/", "äöüßéèêçñ", "абвгдежз", "快速的棕色狐狸跳过懒狗", "가나다라", "हिन्दीमें",
             "\u0300\u0301\u0323\u0345\u05b0\u093c", "▁ ", "🙂🚀", "ابجد", "\u2028\u2009\u00a0"]
    for _ in range(60):
        chosen = rng.sample(pools, rng.randint(1, 3))
        some.append("".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randint(1, 40))))
    return some


SOME = texts()
FEWER = SOME[:45] + SOME[45::6]
COMMON = {"gpt2", "ours", "llama3", "qwen", "o200k", "deepseek", "llama2", "unknown", "metaspace", "gemma"}
for name, j in build().items():
    t = Tokenizer.from_str(json.dumps(j))
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(j, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    with open(os.path.join(HERE, name + ".jsonl"), "w", encoding="utf-8") as f:
        for text in SOME if name in COMMON else FEWER:
            ids = t.encode(text, add_special_tokens=False).ids
            line = {"text": text, "ids": ids, "special": t.encode(text).ids}
            decoded = t.decode(ids, skip_special_tokens=False)
            if "\ufffd" not in decoded:
                line["decoded"] = decoded
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
with open(os.path.join(HERE, "corpus.txt"), "w", encoding="utf-8") as f:
    f.write(CORPUS)
