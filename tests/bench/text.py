#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed of mot-tokenize against Hugging Face's `tokenizers` and against tiktoken, on the same text in the same minute.

    text.py [--bin FOLDER] [--threads 1,2] [--rounds N] [--mb N] [--learn N] [--tokenizer FOLDER]... [NAME=FILE]...

Each FILE is a text whose lines are documents; --mb takes its first N megabytes.  Without FILE: English and code of this
machine's own files, and both mixed.  Without --tokenizer one of 32,000 ids is learned from the text first.  --learn N also
compares learning N ids: seconds, and whether the merges are the same.

Columns: megabytes of text a second, from text to shard for mot-tokenize (its start, loading the vocabulary, is timed on an
empty document and taken off, as the others' is), to lists of ids in memory for the others; and the ratios, by the clock and
by the processors' time, which a busy machine changes less.  ids: all programs gave equally many.  The best of the rounds,
which go through the programs in turn.
"""
import argparse, concurrent.futures, glob, json, os, subprocess, sys, tempfile, time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(TOP, "bin"))
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--mb", type=float, default=8)
    p.add_argument("--learn", type=int, default=0)
    p.add_argument("--tokenizer", action="append", default=[])
    p.add_argument("texts", nargs="*", metavar="NAME=FILE")
    return p.parse_args()


def own_texts(size):
    """What any machine has."""
    def read(patterns):
        out, n = [], 0
        for pattern in patterns:
            for path in sorted(glob.glob(pattern, recursive=True)):
                if n < size and os.path.isfile(path):
                    with open(path, encoding="utf-8", errors="ignore") as f:
                        out.append(f.read())
                    n += len(out[-1])
        return "".join(out)
    english = read(["/usr/share/common-licenses/*", "/usr/share/perl/*/pod/*.pod", "/usr/share/doc/**/*.txt",
                    "/usr/share/doc/**/copyright"])
    code = read(["/usr/include/**/*.h", os.path.join(os.path.dirname(os.__file__), "**/*.py")])
    return {"english": english, "code": code}


def texts(o):
    size = int(o.mb * 1e6)
    found = {}
    for t in o.texts:
        name, path = t.split("=", 1)
        with open(path, encoding="utf-8", errors="replace") as f:
            found[name] = f.read(size)
    found = found or own_texts(size)
    found = {name: [l for l in text[:size].split("\n") if l] for name, text in found.items()}
    if len(found) > 1:
        found["mixed"] = [l for group in zip(*found.values()) for l in group]
    return found


def best(rounds, programs):
    """Seconds by the clock, seconds of processors, and results of each program, called in turn."""
    seconds, busy, result = [1e9] * len(programs), [1e9] * len(programs), [None] * len(programs)
    for _ in range(rounds):
        for i, program in enumerate(programs):
            before, start = sum(os.times()[:4]), time.perf_counter()
            result[i] = program()
            seconds[i] = min(seconds[i], time.perf_counter() - start)
            busy[i] = min(busy[i], sum(os.times()[:4]) - before)
    return seconds, busy, result


def tiktoken_of(path):
    """The same vocabulary for tiktoken, where it is byte-level with one pattern and no normalizer; else None."""
    try:
        import tiktoken
    except ImportError:
        return None
    sys.path.insert(0, os.path.join(TOP, "tests/golden/tokenizer"))
    from families import GPT2
    with open(path, encoding="utf-8") as f:
        j = json.load(f)
    pre = j["pre_tokenizer"] or {}
    parts = pre.get("pretokenizers", [pre])
    if j["model"].get("byte_fallback") or parts[-1].get("type") != "ByteLevel" or len(parts) > 2:
        return None
    pattern = parts[0]["pattern"]["Regex"] if len(parts) == 2 and parts[0]["type"] == "Split" else GPT2 if len(parts) == 1 else None
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    byte = {chr(b): b for b in printable}
    byte.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)})
    special = {a["content"]: a["id"] for a in j["added_tokens"]}
    ranks = {bytes(byte[c] for c in t): i for t, i in j["model"]["vocab"].items() if t not in special}
    if not pattern:
        return None
    return tiktoken.Encoding("same", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


def all_by(tiktoken, lines, threads):
    """Number of ids.  Not by encode_ordinary_batch: that makes a task of each line, which takes longer than the line."""
    def some(part):
        return sum(len(tiktoken.encode_ordinary(l)) for l in part)
    if threads == 1:
        return some(lines)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(some, [lines[i : i + 1000] for i in range(0, len(lines), 1000)]))


def compare(o, folder, name, lines, threads):
    import tokenizers
    n = sum(len(l.encode()) for l in lines)
    theirs = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    other = tiktoken_of(os.path.join(folder, "tokenizer.json"))
    with tempfile.TemporaryDirectory() as tmp:
        text, empty, shard = (os.path.join(tmp, f) for f in ("text", "empty", "shard.mot"))
        with open(text, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        with open(empty, "w") as f:
            f.write("a\n")
        command = [os.path.join(o.bin, "mot-tokenize"), "-q", "--raw", "-f", "lines", "--threads", str(threads), "-t", folder,
                   "-o", shard]
        programs = [lambda: subprocess.run([*command, empty], check=True), lambda: subprocess.run([*command, text], check=True),
                    lambda: sum(len(e.ids) for e in theirs.encode_batch(lines, add_special_tokens=False))]
        if other:
            programs.append(lambda: all_by(other, lines, threads))
        seconds, busy, result = best(o.rounds, programs)
        info = subprocess.run([command[0], "--info", "--json", shard], check=True, capture_output=True, text=True).stdout
        ours = json.loads(info)["tokens"]
    rate = [n / 1e6 / s for s in (seconds[1] - seconds[0], *seconds[2:])]
    ratio = [f"{rate[0] / rate[i]:6.2f} {busy[i + 1] / (busy[1] - busy[0]):6.2f}" for i in range(1, len(rate))]
    same = all(r == ours for r in result[2:])
    print(f"{os.path.basename(os.path.normpath(folder)):12} {name:8} {threads:2} {n / 1e6:6.1f} {rate[0]:8.1f} {rate[1]:10.1f} {ratio[0]}",
          f"{rate[2]:9.1f} {ratio[1]}" if other else f"{'-':>9} {'-':>6} {'-':>6}", f"{seconds[0]:7.2f}  {'equal' if same else 'differ'}", flush=True)


def learn(o, name, lines, threads):
    """The same number of ids from the same lines, split by the same pattern."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    with tempfile.TemporaryDirectory() as tmp:
        text, folder = os.path.join(tmp, "text"), os.path.join(tmp, "tok")
        with open(text, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        def ours():
            subprocess.run([os.path.join(o.bin, "mot-tokenize"), "-q", "--learn", f"text={o.learn}", "-f", "lines", "--threads", str(threads),
                            "-t", folder, text], check=True)
        def theirs():
            t = Tokenizer(models.BPE())
            t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
            t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=o.learn, min_frequency=2, show_progress=False,
                                                             special_tokens=["<|bos|>", "<|eos|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
            return json.loads(t.to_str())["model"]["merges"]
        ours()
        with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
            pattern = json.load(f)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        seconds, busy, result = best(o.rounds, [ours, theirs])
        with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
            merges = [m.split(" ") for m in json.load(f)["model"]["merges"]]
    print(f"learning     {name:8} {threads:2} {sum(len(l.encode()) for l in lines) / 1e6:6.1f} {seconds[0]:7.2f}s {seconds[1]:9.2f}s {seconds[1] / seconds[0]:6.2f} {busy[1] / busy[0]:6.2f} ",
          "same merges" if merges == [list(m) for m in result[1]] else "OTHER MERGES", flush=True)


def run(o, threads, found, folders):
    os.environ.update(TOKENIZERS_PARALLELISM="true", RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    for folder in folders:
        for name, lines in found.items():
            compare(o, folder, name, lines, threads)
    for name, lines in found.items() if o.learn else ():
        learn(o, name, lines, threads)


def main():
    o = parse()
    found = texts(o)
    with tempfile.TemporaryDirectory() as tmp:
        folders = o.tokenizer
        if not folders:
            folders, text = [os.path.join(tmp, "learned")], os.path.join(tmp, "text")
            with open(text, "w", encoding="utf-8") as f:
                f.write("\n".join(l for lines in found.values() for l in lines))
            subprocess.run([os.path.join(o.bin, "mot-tokenize"), "-q", "--learn", "text=32000", "-f", "lines", "-t", folders[0], text], check=True)
        print("tokenizer    text     threads MB     ours tokenizers  ratio    cpu  tiktoken  ratio    cpu   start  ids", flush=True)
        for threads in map(int, o.threads.split(",")):
            pid = os.fork()  # `tokenizers` makes its threads once a process
            if pid == 0:
                run(o, threads, found, folders)
                os._exit(0)
            if os.waitpid(pid, 0)[1]:
                sys.exit(1)


main()
