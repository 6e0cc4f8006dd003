# SPDX-License-Identifier: MIT
"""tokenizer.json files that compare.py tries: the structures of the families of language models, and each part and option of
the format by itself.  Development only; needs the `tokenizers` package.

Two vocabularies stand behind all of them.  In the byte-level one any two bytes make a token, in an order of ranks that says
nothing, so that wherever a text is cut or changed otherwise, ids differ; the other is SentencePiece-like, with byte tokens.
"""
import itertools, json, random
from tokenizers import pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)"
          r"|\s")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ROUND_SPACE = "▁"

# Strings to put into texts beside each file's own added tokens.
TRAPS = ["<s>", "</s>", "<0x0A>", "<|endoftext|>", "<unk>", "don't", "DON'T", "we'LL", "it'ſ", "▁▁", "  ", "word", "Word", "İ",
         "\n\n", "lstrip", "rstrip", "both", "single", "normal", "<mask>", " word", "ｎormal", "ＮＦＫＣ"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True, trim=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def pre(*parts):
    return sequence("pretokenizers", *parts)


def norm(*parts):
    return sequence("normalizers", *parts)


def dec(*parts):
    return sequence("decoders", *parts)


def metaspace(scheme="always", cut=True):
    return {"type": "Metaspace", "replacement": ROUND_SPACE, "prepend_scheme": scheme, "split": cut}


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def added(id, content, special=True, normalized=False, lstrip=False, rstrip=False, single_word=False):
    return {"id": id, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def letters():
    return [c for _, c in sorted((pre_tokenizers.ByteLevel.alphabet().index(c), c) for c in pre_tokenizers.ByteLevel.alphabet())]


def bytes_model():
    rng = random.Random(7)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = list(itertools.product(alphabet, alphabet))
    rng.shuffle(pairs)
    vocab = {c: i for i, c in enumerate(alphabet)}
    merges = []
    for a, b in pairs:
        vocab.setdefault(a + b, len(vocab))
        merges.append([a, b])
    for _ in range(4000):  # some of four
        a, b = rng.choice(pairs), rng.choice(pairs)
        if "".join(a + b) not in vocab:
            vocab["".join(a + b)] = len(vocab)
            merges.append(["".join(a), "".join(b)])
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": merges}


def pieces_model(fallback=True, fuse=True, unk="<unk>"):
    rng = random.Random(8)
    specials = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)] * fallback
    characters = list("▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-<>|_/ \n\té快速的棕色狐狸абвгде")
    vocab = {c: i for i, c in enumerate(specials + characters)}
    merges, tokens = [], list(characters)
    while len(merges) < 1500:
        a, b = rng.choice(tokens), rng.choice(tokens)
        if a + b not in vocab and len(a + b) < 5 and not (ROUND_SPACE in b and rng.random() < 0.9):
            vocab[a + b] = len(vocab)
            merges.append(a + " " + b if " " not in a + b else None)
            if merges[-1] is None:
                merges[-1] = [a, b]
            tokens.append(a + b)
    merges = [m if isinstance(m, list) else m.split(" ") for m in merges]
    return {"type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": fuse, "byte_fallback": fallback, "ignore_merges": False, "vocab": vocab, "merges": merges}


def template(before, after=()):
    def token(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}
    single = [token(b) for b, _ in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [token(a) for a, _ in after]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in [*before, *after]}}


def file(model, normalizer=None, pre_tokenizer=None, post=None, decoder=None, tokens=()):
    """tokens: contents, or (content, flags)."""
    model = dict(model)
    n = len(model["vocab"])
    out = []
    for t in tokens:
        content, flags = t if isinstance(t, tuple) else (t, {})
        known = model["vocab"].get(content)
        out.append(added(n if known is None else known, content, **flags))
        n += known is None
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": out, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post, "decoder": decoder, "model": model}


# All 16 combinations of what moves an added token's edges and when it is looked for, special and not.
FLAGS = [("%s%s%s%s%s" % ("lstrip" * l, "rstrip" * r, "single" * w, "normal" * n, "special" * s),
          {"lstrip": bool(l), "rstrip": bool(r), "single_word": bool(w), "normalized": bool(n), "special": bool(s)})
         for l in (0, 1) for r in (0, 1) for w in (0, 1) for n in (0, 1) for s in (0, 1) if l + r + w + n + s]
SPACES = [(" " * n, {"normalized": True, "special": False}) for n in range(24, 1, -1)]
NOT_SPECIAL = {"special": False}


def llama2_decoder():
    return dec(replace(ROUND_SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
               {"type": "Strip", "content": " ", "start": 1, "stop": 0})


def of_families():
    b, p = bytes_model(), pieces_model()
    n = len(b["vocab"])
    bl = byte_level()
    cut = byte_level(False, False)
    yield "gpt2", file(b, None, bl, byte_level(trim=False), bl, [("<|endoftext|>", {"normalized": True})])
    yield "roberta", file(b, None, bl, {"type": "RobertaProcessing", "sep": ["</s>", n + 2], "cls": ["<s>", n],
                                        "trim_offsets": True, "add_prefix_space": False}, bl,
                          [("<s>", {"normalized": True}), ("<pad>", {"normalized": True}), ("</s>", {"normalized": True}),
                           ("<unk>", {"normalized": True}), ("<mask>", {"lstrip": True})])
    yield "whisper", file(b, None, bl, template([("<|startoftranscript|>", n), ("<|notimestamps|>", n + 1)],
                                                [("<|endoftext|>", n + 2)]), bl,
                          ["<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>",
                           *(("<|%.2f|>" % (i * 0.02), NOT_SPECIAL) for i in range(40))])
    yield "phi2", file(b, None, bl, byte_level(), bl, [("<|endoftext|>", {"normalized": True}), *SPACES,
                                                       *(("\t" * k, {"normalized": True, "special": False}) for k in range(9, 1, -1))])
    yield "gptneox", file(b, {"type": "NFC"}, bl, byte_level(), bl, ["<|endoftext|>", "<|padding|>", *SPACES])
    yield "starcoder", file(b, None, pre({"type": "Digits", "individual_digits": True}, bl), None, byte_level(True), ["<|endoftext|>", "<fim_prefix>"])
    yield "smollm", file(b, None, pre({"type": "Digits", "individual_digits": True}, bl), None, bl, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    yield "falcon", file(b, None, pre({"type": "Punctuation", "behavior": "Contiguous"}, bl, {"type": "Digits", "individual_digits": False},
                                      split("[0-9][0-9][0-9]")), byte_level(trim=False), byte_level(),
                         [">>TITLE<<", "<|endoftext|>"])
    yield "cl100k", file(b, None, pre(split(CL100K), cut), None, byte_level(), ["<|endoftext|>"])
    yield "bloom", file(b, None, pre(split(BLOOM), cut), byte_level(trim=False), byte_level(), ["<unk>", "<s>", "</s>", "<pad>"])
    yield "llama3", file({**b, "ignore_merges": True}, None, pre(split(LLAMA3), cut),
                         sequence("processors", byte_level(), template([("<|begin_of_text|>", n)])), byte_level(),
                         ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|reserved_special_token_0|>"])
    yield "qwen2", file(b, {"type": "NFC"}, pre(split(QWEN2), cut), byte_level(trim=False), byte_level(),
                        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", ("<tool_call>", NOT_SPECIAL), ("<think>", NOT_SPECIAL)])
    yield "qwen3.5", file(b, {"type": "NFC"}, pre(split(QWEN35), cut), byte_level(trim=False), byte_level(), ["<|endoftext|>"])
    yield "tekken", file({**b, "ignore_merges": True}, None, pre(split(TEKKEN), cut), template([("<s>", n)]), byte_level(),
                         ["<s>", "</s>", "[INST]", "[/INST]", "<SPECIAL_36>"])
    yield "o200k", file(b, None, pre(split(O200K), cut), None, byte_level(), ["<|endoftext|>", "<|endofprompt|>"])
    yield "o200k-removed", file({**b, "ignore_merges": True}, None, pre(split(O200K, "Removed", True), cut), None, byte_level(), ["<|startoftext|>"])
    yield "kimi", file(b, None, pre(split(KIMI), cut), None, byte_level(), ["[BOS]"])
    yield "deepseek2", file(b, norm(), pre(split("[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ϿᲐ-Ჿᴀ-ᴫ]+"),
                                            split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
                                            split("[一-龥ࠀ-一가-퟿]+"), {"type": "Digits", "individual_digits": True}, cut),
                            byte_level(True, False), byte_level(),
                            [("<｜begin▁of▁sentence｜>", {"normalized": True}), ("<｜fim▁hole｜>", {"normalized": True, "special": False})])
    yield "deepseek3", file(b, norm(), pre(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3), cut),
                            template([("<｜begin▁of▁sentence｜>", n)]), byte_level(),
                            ["<｜begin▁of▁sentence｜>", ("<｜User｜>", NOT_SPECIAL), ("<think>", NOT_SPECIAL)])
    yield "chameleon", file(b, None, pre(bl, {"type": "Digits", "individual_digits": True}), template([("<s>", n)]), byte_level(),
                            ["<s>", "</s>", ("<image>", {}), ("<racm3:break>", {}), "<eoss>"])
    yield "olmo", file(b, {"type": "NFC"}, bl, None, bl, ["|||IP_ADDRESS|||", ("<|padding|>", {}), *SPACES[:5]])
    yield "llama2", file(p, norm({"type": "Prepend", "prepend": ROUND_SPACE}, replace(" ", ROUND_SPACE)), None,
                         template([("<s>", 1)]), llama2_decoder(), ["<unk>", "<s>", "</s>"])
    yield "mistral1", file(p, norm({"type": "Prepend", "prepend": ROUND_SPACE}, replace(" ", ROUND_SPACE)), None,
                           template([("<s>", 1)]), llama2_decoder(), [("<unk>", {"normalized": True}), ("<s>", {"normalized": True})])
    yield "mistral3", file(p, None, metaspace("first", False), template([("<s>", 1)]), llama2_decoder(),
                           ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"])
    yield "codellama", file(p, norm({"type": "Prepend", "prepend": ROUND_SPACE}, replace(" ", ROUND_SPACE)), None,
                            template([("<s>", 1)]), llama2_decoder(), ["<unk>", "<s>", "</s>", "▁<PRE>", "▁<MID>", "▁<SUF>"])
    yield "yi", file(p, norm(replace(" ", ROUND_SPACE)), None, None, dec(replace(ROUND_SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}),
                     ["<unk>", "<s>", "</s>", "<|im_start|>"])
    gemma = [("\n" * k, NOT_SPECIAL) for k in range(2, 8)] + [(ROUND_SPACE * k, NOT_SPECIAL) for k in range(2, 12)]
    yield "gemma", file(p, replace(" ", ROUND_SPACE), None, template([("<s>", 1)]),
                        dec(replace(ROUND_SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}), ["<unk>", "<s>", *gemma, "<start_of_turn>"])
    yield "gemma3", file({**p, "ignore_merges": False}, replace(" ", ROUND_SPACE), split(" ", "MergedWithPrevious", kind="String"), template([("<s>", 1)]),
                         dec(replace(ROUND_SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}), ["<unk>", "<s>", *gemma, "<start_of_turn>"])


def each_part():
    b, p = bytes_model(), pieces_model()
    n = len(b["vocab"])
    cut = byte_level(False, False)
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    for behavior in behaviors:
        for invert in (False, True):
            yield f"split {behavior} {invert}", file(b, None, pre(split(r"\s+|\p{N}", behavior, invert), cut), None, byte_level())
            yield f"split nothing {behavior} {invert}", file(b, None, pre(split("", behavior, invert, "String"), cut), None, byte_level())
            yield f"split string {behavior} {invert}", file(b, None, pre(split(" ", behavior, invert, "String"), cut), None, byte_level())
        yield f"punctuation {behavior}", file(b, None, pre({"type": "Punctuation", "behavior": behavior}, cut), None, byte_level())
    yield "punctuation", file(b, None, pre({"type": "Punctuation"}, cut), None, byte_level())
    for each in (True, False):
        yield f"digits {each}", file(b, None, pre({"type": "Digits", "individual_digits": each}, cut), None, byte_level())
    yield "whitespace", file(b, None, pre({"type": "Whitespace"}, cut), None, byte_level())
    yield "whitespace split", file(b, None, pre({"type": "WhitespaceSplit"}, cut), None, byte_level())
    yield "bert split", file(b, None, pre({"type": "BertPreTokenizer"}, cut), None, byte_level())
    yield "delimiter", file(b, None, pre({"type": "CharDelimiterSplit", "delimiter": "é"}, cut), None, byte_level())
    yield "fixed length", file(b, None, pre({"type": "FixedLength", "length": 3}, cut), None, byte_level())
    for prefix in (True, False):
        for regex in (True, False):
            yield f"bytes {prefix} {regex}", file(b, None, byte_level(prefix, regex), byte_level(), byte_level(), ["<s>"])
    yield "bytes twice", file(b, None, pre(byte_level(True), byte_level(False, False)), None, byte_level())
    for scheme in ("always", "first", "never"):
        for parts in (True, False):
            yield f"metaspace {scheme} {parts}", file(p, None, metaspace(scheme, parts), None, metaspace(scheme, parts), ["<s>", ("</s>", {"rstrip": True})])
            yield f"metaspace bytes {scheme} {parts}", file(b, None, pre(split(",", kind="String"), metaspace(scheme, parts), cut), None, byte_level(), ["<s>"])
    yield "metaspace strip first", file(b, {"type": "Strip", "strip_left": True, "strip_right": False}, pre(metaspace("first"), cut), None, byte_level(), ["<s>"])
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield f"normalizer {name}", file(b, {"type": name}, cut, None, byte_level(), ["<s>", ("Word", {"normalized": True}), ("é", {"normalized": True, "special": True}), ("ＮＦＫＣ", {"normalized": True})])
    yield "normalizer NFD accents", file(b, norm({"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}), cut, None, byte_level())
    yield "normalizer ByteLevel", file(b, norm({"type": "NFC"}, {"type": "ByteLevel"}), None, None, byte_level(), ["<s>"])
    for left, right in itertools.product((True, False), (True, False)):
        yield f"strip {left} {right}", file(b, {"type": "Strip", "strip_left": left, "strip_right": right}, cut, None, byte_level(), ["<s>"])
    for clean, chinese, accents, lower in itertools.product((True, False), (True, False), (None, True, False), (True, False)):
        if clean + chinese + bool(accents) + lower <= 1 or (clean and chinese and lower):
            yield f"bert {clean} {chinese} {accents} {lower}", file(
                b, {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents,
                    "lowercase": lower}, cut, None, byte_level(), [("Ünd", {"normalized": True})])
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    yield "gpt1", file(affixed(pieces_model(False, False), None, "</w>"), bert, {"type": "BertPreTokenizer"}, None, {"type": "BPEDecoder", "suffix": "</w>"}, ["<unk>"])
    yield "replace regex", file(b, norm(replace(r"\s{2,}", "·", "Regex"), replace("a", "", "String"), replace(r"(?<=e)x*", "+", "Regex"), {"type": "Prepend", "prepend": "^^"}), cut, None, byte_level(), ["<s>"])
    yield "clip", file({**suffixed(b, "</w>"), "unk_token": "!"}, norm({"type": "NFC"}, replace(r"\s+", " ", "Regex"), {"type": "Lowercase"}),
                       pre(split(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "Removed", True), byte_level()),
                       {"type": "RobertaProcessing", "sep": ["!", 0], "cls": ["a", 65], "trim_offsets": False, "add_prefix_space": False}, byte_level(), [("<|startoftext|>", {"normalized": True})])
    for fallback, fuse, unk in itertools.product((True, False), (True, False), ("<unk>", None)):
        m = pieces_model(fallback, fuse, unk)
        yield f"pieces {fallback} {fuse} {unk}", file(m, None, metaspace(), None, llama2_decoder())
        for prefix, suffix in (("##", None), (None, "</w>"), ("##", "</w>")):
            yield f"pieces {fallback} {fuse} {unk} {prefix} {suffix}", file(affixed(m, prefix, suffix), None, {"type": "Whitespace"}, None, {"type": "BPEDecoder", "suffix": "</w>"})
    yield "unknown vanishes", file(pieces_model(False, False, None), replace(" ", ROUND_SPACE), None, None, llama2_decoder())
    yield "ignore merges", file({**p, "ignore_merges": True}, replace(" ", ROUND_SPACE), None, None, llama2_decoder())
    yield "merges as strings", file({**p, "merges": [" ".join(m) for m in p["merges"] if " " not in m[0] + m[1]]}, replace(" ", ROUND_SPACE), None)
    yield "added flags", file(b, None, byte_level(), None, byte_level(), FLAGS)
    yield "added flags lower", file(b, norm({"type": "NFKC"}, {"type": "Lowercase"}), byte_level(True), None, byte_level(), [(c.capitalize(), f) for c, f in FLAGS])
    yield "added flags pieces", file(p, norm({"type": "Prepend", "prepend": ROUND_SPACE}, replace(" ", ROUND_SPACE)), None, None, llama2_decoder(), FLAGS)
    yield "added spaces", file(b, None, byte_level(), None, byte_level(), [(" x", {"lstrip": True}), ("x ", {"rstrip": True}), (" ", {"single_word": True}), ("x", {}), ("  ", {"normalized": True})])
    yield "added spaces stripped", file(b, None, byte_level(), None, byte_level(), [("\n\n", {"lstrip": True, "rstrip": True}), ("  ", {"lstrip": True}), ("word", {"rstrip": True, "normalized": True})])
    yield "added twice", file(b, None, byte_level(), None, byte_level(), [("word", {"normalized": True}), "other"])
    yield "single words", file(b, None, byte_level(), None, byte_level(), [("w", {"single_word": True})])
    yield "stripped", file(b, None, byte_level(), None, byte_level(), [("b", {"lstrip": True, "rstrip": True}), ("<s>", {})])
    yield "bert processing", file(b, None, byte_level(), {"type": "BertProcessing", "sep": ["a", 65], "cls": ["b", 66]}, byte_level())
    yield "processors", file(b, None, byte_level(), sequence("processors", byte_level(), template([("<s>", n), ("</s>", n + 1)], [("</s>", n + 1)])),
                             byte_level(), ["<s>", "</s>"])
    for decoder in (None, byte_level(), {"type": "ByteFallback"}, {"type": "Fuse"}, metaspace("never"), metaspace("first"),
                    {"type": "Strip", "content": "a", "start": 2, "stop": 1}, {"type": "BPEDecoder", "suffix": "</w>"},
                    {"type": "WordPiece", "prefix": "a", "cleanup": True}, {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": False},
                    dec(replace(r"[abc]+", "<>", "Regex"), {"type": "ByteFallback"}), dec({"type": "ByteFallback"}, metaspace(), {"type": "Fuse"}, replace("a", "bb"))):
        label = "none" if not decoder else decoder["type"] + str(decoder.get("prepend_scheme", ""))
        yield f"decoder {label} of pieces", file(p, None, metaspace(), None, decoder, ["<s>", ("</s>", NOT_SPECIAL)])
        yield f"decoder {label} of bytes", file(b, None, byte_level(), None, decoder, ["<s>", ("é", NOT_SPECIAL), ("快", NOT_SPECIAL)])
    for pattern in (r"[\p{L}&&[^\p{Latin}]]+", r"[a-z&&[^aeiou]]+", r"[[:alpha:]]+|[[:digit:]]", r"[^[:space:]]+", r"\w+|\W", r"\S+", r"[\w']+", r"\d+|\D", r"[\D]+",
                    r"\h+", r"[^\P{L}]+", r"[\P{N}]+", r"\p{^L}+", r"\R", r"\X", r"\b\w", r"\B.", r"a\b|\b\s", r"(ab|a){1,2}+b", r"\p{L}{2,3}+|\d{2}+", r"a{1,2}?b", r"[ab]{2,}+c", r"(?:a(?:b{1,2}+)c)+", "",  r".", r"^.", r".$", r"\A.|.\z", r"(?i)straße|k", r"[\p{Alpha}]+",
                    r"\p{Alphabetic}+", r"\p{Alnum}|\p{Upper}", r"\p{Lower}+", r"\p{Space}|\p{Punct}", r"[[:punct:]]", r"\p{Hiragana}+|\p{Katakana}+|\p{Han}|\p{Hangul}",
                    r"\p{Greek}|\p{Cyrillic}+|\p{Thai}|\p{Arabic}", r"\p{Cn}", r"\p{C}", r"\p{Cf}|\p{Co}", r"a{2}|b{1,2}|c{,2}d|e{2,}", r"(?<!a)b|(?<=c)d", r"(?>a+)b|x*+y", r"a+?b",
                    r"[\s\S]", r"(a)|(?<name>b)", r"[a\]b-]+", r"\x{e9}|\xe9|\u00e9", r"[^\n]+", r"\n+|[^\n]*", r"x*", r"(?m:.+)", r"(?s).", r"[à-ö]+", r"\p{Emoji}", r"\p{So}+|\p{Sk}|\p{Sm}|\p{Sc}"):
        yield f"pattern {pattern}", file(b, None, pre(split(pattern, "Isolated"), cut), None, byte_level())


def suffixed(b, suffix):
    return affixed(b, None, suffix)


def affixed(model, prefix, suffix):
    """Each token also with the suffix, as the end of a word, and with the prefix, as what is not its beginning."""
    rng = random.Random(9)
    vocab, merges = {}, []
    start = [t for t in model["vocab"] if len(t) == 1]
    forms = {("", ""), (prefix or "", ""), ("", suffix or ""), (prefix or "", suffix or "")}
    keep = [t for t in model["vocab"] if t.startswith("<")]
    for t in keep + [a + c + z for a, z in sorted(forms) for c in start if (a, z) != ("", "") or True]:
        vocab.setdefault(t, len(vocab))
    for a, b in model["merges"][:6000]:
        for z in {"", suffix or ""}:
            left, right = (rng.choice(["", prefix or ""]) + a), (prefix or "") + b + z
            both = left + right[len(prefix or ""):]
            if left in vocab and right in vocab:
                vocab.setdefault(both, len(vocab))
                merges.append([left, right])
    return {**model, "vocab": vocab, "merges": merges, "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}


def build():
    yield from of_families()
    yield from each_part()
