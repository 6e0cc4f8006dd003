#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare lib/token with Hugging Face's `tokenizers` at large.  Development only: needs the `tokenizers` package (0.23.3).

    compare.py [--texts N] [--unicode STEP] [--seed N] [--only WORD] [--text FILE]... [FOLDER|FILE.json]...

Every tokenizer of families.py, and every tokenizer.json named, is loaded by both; both encode the same texts and decode the
same ids, with special tokens and without.  Texts: each code point of Unicode in several surroundings (every STEPth block of 64;
0: none), N random strings made of what trips tokenizers up, and the lines of each FILE.  Ids to decode: those, cut anywhere,
and random ones.  Prints each difference (a few of a kind), and at the end the number of differences; exits 1 if there are any.
"""
import argparse, ctypes, json, os, random, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "../../..")
sys.path.insert(0, HERE)
import tokenizers
import families


class Ids(ctypes.Structure):
    _fields_ = [("id", ctypes.POINTER(ctypes.c_int32)), ("n", ctypes.c_int64), ("capacity", ctypes.c_int64)]


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_ubyte)), ("n", ctypes.c_size_t), ("capacity", ctypes.c_size_t)]


def library():
    subprocess.run(["make", "-s", "-j2", "-C", TOP, "B=bin/pic", "WERROR=0", "CFLAGS=-O2 -g -fPIC", "bin/pic/libmot.a"],
                   check=True, stdout=subprocess.DEVNULL)
    so = os.path.join(TOP, "bin/pic/libmot.so")
    libs = subprocess.run(["pkg-config", "--libs", "jansson", "libpcre2-8", "libarchive", "sndfile", "libutf8proc", "libwebp", "zlib"],
                          check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-shared", "-fopenmp", "-o", so, "-Wl,--whole-archive", os.path.join(TOP, "bin/pic/libmot.a"),
                    "-Wl,--no-whole-archive", *libs, "-lkissfft-float", "-lm", "-lpthread"], check=True)
    lib = ctypes.CDLL(so)
    lib.mot_tokenizer_open.restype = lib.mot_error.restype = ctypes.c_void_p
    lib.mot_error.restype = ctypes.c_char_p
    lib.mot_tokenizer_open.argtypes = [ctypes.c_char_p]
    lib.mot_tokenizer_close.argtypes = [ctypes.c_void_p]
    lib.mot_encode_text.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Ids)]
    lib.mot_decode_text.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32), ctypes.c_int64, ctypes.c_bool,
                                    ctypes.POINTER(Bytes)]
    lib.mot_special_around.argtypes = [ctypes.c_void_p, ctypes.POINTER(Ids), ctypes.POINTER(Ids)]
    return lib


class Ours:
    def __init__(self, lib, folder):
        self.lib, self.ids, self.bytes = lib, Ids(), Bytes()
        self.t = lib.mot_tokenizer_open(folder.encode())
        if not self.t:
            raise ValueError(lib.mot_error().decode())
        before, after = Ids(), Ids()
        assert lib.mot_special_around(self.t, ctypes.byref(before), ctypes.byref(after)) == 0
        self.before, self.after = before.id[: before.n], after.id[: after.n]

    def encode(self, text):
        b = text.encode() if isinstance(text, str) else text
        self.ids.n = 0
        if self.lib.mot_encode_text(self.t, b, len(b), ctypes.byref(self.ids)):
            return self.lib.mot_error().decode()
        return self.ids.id[: self.ids.n]

    def decode(self, ids, skip):
        """The text, its bytes that are not UTF-8 replaced as Rust's and Python's decoders both do."""
        self.bytes.n = 0
        if self.lib.mot_decode_text(self.t, (ctypes.c_int32 * len(ids))(*ids), len(ids), skip, ctypes.byref(self.bytes)):
            return self.lib.mot_error().decode()
        return ctypes.string_at(self.bytes.data, self.bytes.n).decode("utf-8", "replace") if self.bytes.n else ""

    def close(self):
        self.lib.mot_tokenizer_close(self.t)


SURROUNDINGS = ["%s", "a%sb", " %s ", "1%s2", "%s%s", "'%s", "\n%s\n", "A%sa%sA", " %s%s1%s", "é%s", "%ś", "，%s,%s", "▁%s▁", "x%s<s>%s "]


def unicode_texts(step):
    # Planes 4 to 13 are empty, 15 and 16 private: their first and last blocks stand for the rest.
    empty = [c for plane in (*range(4, 14), 15, 16) for c in (plane << 16, (plane << 16) + 0xFFC0)]
    for first in [*range(0, 0x40000, 64 * step), *range(0xE0000, 0xF0000, 64 * step), *empty] if step else ():
        block = [chr(c) for c in range(first, first + 64) if not 0xD800 <= c < 0xE000]
        if block:
            yield "".join(s.replace("%s", c) for c in block for s in SURROUNDINGS)
            yield from block


POOLS = ["  \t\n\r\x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff", "'’stmdrevl", "aeiouxyzbcd", "ABCXYZ",
         "0123456789", "٠١٢३४५๐๑Ⅷ½²③", ".,!?;:-_/\\|()[]{}<>@#$%^&*~`\"", "äöüßéèêçñÅİıſ", "абвгдЖЗ", "αβγΣς", "快速的棕色狐狸",
         "ひらがなカタカナー", "가나다라각", "हिन्दीमें", "ابجد", "אבגד", "ไทยภาษา", "\u0300\u0301\u0323\u0345\u05b0\u093c\u3099",
         "▁ ", "🙂🚀👩\u200d💻🇩🇪", "ⓐⒶ🅰", "…—–“”„«»", "\u0378\ue000\U000f0000\U0010ffff\U00016d40\U00010d40", "ǅǈᾳſﬁ",
         "\x00\x01\x7f\u180e\u00ad", "𝔘𝔫𝟘𝟙", "ᄀ깍", "１２ＡＢ！"]


def random_texts(n, rng, tokens):
    for i in range(n):
        chosen = rng.sample(POOLS, rng.randint(1, 4))
        parts = []
        for _ in range(rng.choice([1, 2, 3, 5, 8, 20, 60])):
            k = rng.random()
            if tokens and k < 0.1:
                token = rng.choice(tokens)
                parts.append(token if rng.random() < 0.7 else token[: rng.randint(1, len(token))])
            elif k < 0.15:
                parts.append(chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000), rng.randrange(0x3000)])))
            elif k < 0.25:
                parts.append(rng.choice([" ", "  ", "\n", "\n\n", "\r\n", "\t", "   \n  ", " " * 9]))
            else:
                parts.append("".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randint(1, 6))))
        yield "".join(parts)


class Comparison:
    def __init__(self, lib, name, path, folder):
        self.name, self.differences, self.checked = name, 0, 0
        self.theirs = tokenizers.Tokenizer.from_file(path)
        self.ours = Ours(lib, folder)
        with open(path, encoding="utf-8") as f:
            j = json.load(f)
        self.added = [a["content"] for a in j["added_tokens"]]
        self.size = self.theirs.get_vocab_size()

    def differs(self, what, text, ours, theirs):
        self.differences += 1
        if self.differences <= 6:
            print(f"{self.name}: {what} of {text!r:.300}:\n  ours   {ours!r:.500}\n  theirs {theirs!r:.500}", flush=True)

    def smallest(self, text, theirs):
        """A short part of text on which the two differ."""
        for size in (1, 2, 3, 4, 6, 9, 14):
            for i in range(len(text) - size + 1):
                part = text[i : i + size]
                if self.ours.encode(part) != self.theirs.encode(part, add_special_tokens=False).ids:
                    return part
        return text

    def text(self, text, rng=None):
        self.checked += 1
        theirs = self.theirs.encode(text, add_special_tokens=False).ids
        ours = self.ours.encode(text)
        if ours != theirs:
            part = self.smallest(text, theirs)
            self.differs("ids", part, self.ours.encode(part), self.theirs.encode(part, add_special_tokens=False).ids)
            return
        if rng:
            special = self.theirs.encode(text).ids
            if self.ours.before + ours + self.ours.after != special:
                self.differs("special ids", text, self.ours.before + ours + self.ours.after, special)
            cut = rng.randint(0, len(ours))
            self.ids(special)
            self.ids(ours[cut:])
            self.ids(ours[:cut])

    def ids(self, ids):
        for skip in (False, True):
            ours = self.ours.decode(ids, skip)
            try:
                theirs = self.theirs.decode(ids, skip_special_tokens=skip)
            except BaseException as e:  # a panic: no Exception
                if type(e).__name__ != "PanicException":
                    raise
                continue
            if ours != theirs:
                self.differs(f"text (skip special: {skip})", ids, ours, theirs)
                return


def compare(lib, name, path, folder, o):
    try:
        c = Comparison(lib, name, path, folder)
    except ValueError as e:  # ours does not load it
        print(f"{name}: {str(e).replace(path, '')}", flush=True)
        return 1
    except Exception as e:
        print(f"{name}: theirs: {e}", flush=True)
        return 0
    rng = random.Random(o.seed)
    for text in unicode_texts(o.unicode):
        c.text(text)
    for text in random_texts(o.texts, rng, c.added + families.TRAPS):
        c.text(text, rng)
    for file in o.text:
        with open(file, encoding="utf-8", errors="replace") as f:
            for line in f:
                c.text(line, rng if rng.random() < 0.02 else None)
    top = max(c.theirs.get_vocab().values()) + 1
    for _ in range(o.texts):
        c.ids([rng.randrange(top if rng.random() < 0.7 else min(top, 400)) for _ in range(rng.randint(0, 12))])
    c.ours.close()
    print(f"{name}: {c.checked} texts, {c.differences} differences", flush=True)
    return c.differences


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--texts", type=int, default=1000)
    p.add_argument("--unicode", type=int, default=1, metavar="STEP")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", metavar="WORD")
    p.add_argument("--text", action="append", default=[], metavar="FILE")
    p.add_argument("path", nargs="*")
    o = p.parse_args()
    lib, total = library(), 0
    with tempfile.TemporaryDirectory() as tmp:
        for path in o.path:
            path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
            total += compare(lib, path, path, os.path.dirname(path) or ".", o)
        for name, j in families.build() if not o.path else ():
            if o.only and o.only not in name:
                continue
            folder = tempfile.mkdtemp(dir=tmp)
            path = os.path.join(folder, "tokenizer.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(j, f, ensure_ascii=False)
            total += compare(lib, name, path, folder, o)
    print(total, "differences")
    sys.exit(total > 0)


main()
