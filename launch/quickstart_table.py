"""Puts the quickstart's JSON files together: result.json in the current folder, and the table on standard output.

usage: quickstart_table.py PARENT_MODEL
"""
import json
import sys


def read(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def row(name, model):
    measured, speed = read(f"{name}.eval.json"), {r["path"]: r for r in read(f"{name}.bench.json")["rows"]}
    return {
        "name": name,
        "model": model,
        "parameters": read(f"{name}.inspect.json")["parameters"],
        "ppl": measured["ppl"],
        "ffn_sparsity": measured["ffn_sparsity"],
        "tokens_per_s_dense": speed["dense"]["tokens_per_s"],
        # A dense activation has no zeros to skip, so no sparse path.
        "tokens_per_s_sparse": speed["sparse"]["tokens_per_s"] if "sparse" in speed else None,
    }


def main():
    rows = [row("parent", sys.argv[1]), row("control", "control"), row("child", "child")]
    swap, bigram = read("swap.eval.json"), read("parent.eval.json")["bigram_ppl"]
    result = {
        "held_out": "held_out.txt",
        "seq_len": 128,
        "rows": rows,
        "bigram_ppl": bigram,
        "swap": {"ppl": swap["ppl"], "ffn_sparsity": swap["ffn_sparsity"]},
        "child_over_control": rows[2]["ppl"] / rows[1]["ppl"],
        "parent_over_bigram": rows[0]["ppl"] / bigram,
    }
    with open("result.json", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    line = "{:<28} {:>10} {:>12} {:>10} {:>14} {:>14}"
    print(line.format("", "parameters", "perplexity", "FFN zeros", "dense tok/s", "sparse tok/s"))
    for r in rows:
        sparse = "-" if r["tokens_per_s_sparse"] is None else f"{r['tokens_per_s_sparse']:.0f}"
        print(line.format(r["name"], r["parameters"], f"{r['ppl']:.3f}", f"{100 * r['ffn_sparsity']:.1f} %",
                          f"{r['tokens_per_s_dense']:.0f}", sparse))
    print(line.format("swap without training", "", f"{swap['ppl']:.3f}", f"{100 * swap['ffn_sparsity']:.1f} %", "", ""))
    print(line.format("bigram model", "", f"{bigram:.3f}", "", "", ""))
    print(f"child over control {result['child_over_control']:.3f}, parent over bigram {result['parent_over_bigram']:.3f}")


main()
