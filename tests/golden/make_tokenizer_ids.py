#!/usr/bin/env python3
"""Writes tokenizer_ids.json beside this file: ids that Hugging Face's `tokenizers` gives for tricky strings.

usage: make_tokenizer_ids.py DATA_FOLDER        (needs `pip install tokenizers`; made with 0.23.3)
A variant is a real tokenizer with parts of its tokenizer.json replaced (JSON pointer -> value); the test
applies the same replacements.
"""
import json
import os
import sys

from tokenizers import Tokenizer, __version__

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
MIXED_CASE = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + SHORT +
              r"|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + SHORT +
              r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"/pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


def metaspace(scheme, cut):
    step = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}
    return {"/normalizer": None, "/pre_tokenizer": step, "/decoder": step,
            **{f"/added_tokens/{i}/normalized": False for i in range(3)}}


STORY, BOOKS, GPT2 = "models/stories656k", "models/books17m", "tokenizers/gpt2"
VARIANTS = [
    ("story", STORY, {}),
    ("books", BOOKS, {}),
    ("gpt2", GPT2, {}),
    ("gpt2 with prefix space", GPT2, {"/pre_tokenizer/add_prefix_space": True}),
    ("Llama-3's pattern, whole words first", GPT2,
     {**sequence(split(LLAMA3), BYTES), "/model/ignore_merges": True}),
    ("composed first", GPT2,
     {"/normalizer": {"type": "NFC"}, **sequence(split(LLAMA3.replace("{1,3}", "")), BYTES)}),
    ("mixed-case pattern", GPT2, sequence(split(MIXED_CASE), BYTES)),
    ("three patterns", GPT2, sequence(
        split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
        split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
              r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), BYTES)),
    ("digits apart", GPT2, sequence(
        {"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True})),
    ("spaces removed", GPT2, sequence(split(r"\s", "Removed"), BYTES)),
    ("merged with next", GPT2, sequence(split(r"[\s.]", "MergedWithNext"), BYTES)),
    ("merged with previous, inverted", GPT2, sequence(split(r"[^\s.]", "MergedWithPrevious", True), BYTES)),
    ("Metaspace at the start, one piece", STORY, metaspace("first", False)),
    ("Metaspace always, words", STORY, metaspace("always", True)),
    ("Metaspace never, words", STORY, metaspace("never", True)),
    ("unknown characters apart", STORY, {"/model/fuse_unk": False}),
    ("added tokens that swallow space", STORY, {
        "/added_tokens/1/normalized": False, "/added_tokens/1/rstrip": True,
        "/added_tokens/2/normalized": False, "/added_tokens/2/lstrip": True, "/added_tokens/2/single_word": True}),
]
STRINGS = [
    '', ' ', '  ', '\n', ' \n', '\t\n \r\n', 'a', ' a', '  a  ', 'Hello, world!',
    'Hello world\n\nHello   world \n', "I'll, we've, don't, it's; I'LL WE'VE DON'T IT'S",
    "'\u017f '\u017ft 's'S", '1 12 123 1234 12345 1,234.56 \xbd \u2167 \u0663\u0664',
    'camelCaseWords AndUPPERCase\u01c5\u02b0', 'caf\xe9 cafe\u0301 na\xefve',
    '\u212b \u2126 \ufb01 \u0344 \u0958 \uac01 \u1100\u1161\u11a8', 'q\u0323\u0307 q\u0307\u0323',
    '\u65e5\u672c\u8a9e \u4e2d\u6587\u5b57\u7b26 \ud55c\uad6d\uc5b4',
    '\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea',
    '\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22',
    '\U0001f680 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea\U0001f3fd',
    '\xa0x\u2003y\u3000z\u200bw\u2028v\x85u', '\ufeffBOM and \xad soft', '\x00\x01\x1f\x7f',
    '\u2581leading \u2581 mark', '!!!???...---', 'a.b.c/d\\e_f@g#h$i%j^k&l*m(n)o',
    'http://example.org/a?b=c&d=%20', '<|endoftext|> and <|begin_of_text|>x<|end_of_text|>',
    '<unk><|start_story|>Once <|end_story|> upon', 'x <|start_story|>  y  <|end_story|>z  <|end_story|> w',
    'Once upon a time, there was a little girl named Lily.',
    'She said \u201cyes\u201d \u2014 and left\u2026', '    indented\n\tcode = [1, 2];\n',
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '\U0001d518\U0001d52b\U0001d526 \u2460\u24b6 x\xb2',
    '\u1c89\u1c8a \U00010d50\U00010d70 \u0897', 'e\u0301\u0301 \u0301x',
]


def base(data, folder):
    if folder != GPT2:
        return json.load(open(os.path.join(data, folder, "tokenizer.json"), encoding="utf-8"))
    vocab = json.load(open(os.path.join(data, folder, "vocab.json"), encoding="utf-8"))
    lines = open(os.path.join(data, folder, "merges.txt"), encoding="utf-8").read().split("\n")
    merges = [line for line in lines if line and not line.startswith("#version")]
    end = {"id": vocab["<|endoftext|>"], "content": "<|endoftext|>", "single_word": False, "lstrip": False,
           "rstrip": False, "normalized": False, "special": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
            "pre_tokenizer": {**BYTES, "use_regex": True}, "post_processor": None, "decoder": BYTES,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "vocab": vocab, "merges": merges}}


def patched(root, patch):
    for pointer, value in patch.items():
        *way, last = pointer[1:].split("/")
        node = root
        for key in way:
            node = node[int(key) if isinstance(node, list) else key]
        node[int(last) if isinstance(node, list) else last] = value
    return root


def main():
    data = sys.argv[1]
    lines = []
    for name, folder, patch in VARIANTS:
        tokenizer = Tokenizer.from_str(json.dumps(patched(base(data, folder), patch)))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in STRINGS]
        entry = {"name": name, "base": folder, "patch": patch, "ids": ids}
        lines.append(json.dumps(entry, separators=(",", ":")))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer_ids.json")
    with open(path, "w") as out:
        out.write('{"tokenizers":"%s",\n"strings":%s,\n"variants":[\n' % (__version__, json.dumps(STRINGS)))
        out.write(",\n".join(lines) + "\n]}\n")


main()
