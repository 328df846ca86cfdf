"""Evaluates the models of a quickstart anew and compares with its result.json; then the bars of the table.

usage: check_result.py RUN_FOLDER (holds result.json; paths in it are relative to that folder or absolute)

result.json: {"held_out": TEXT_FILE, "seq_len": W, "bigram_ppl": X,
  "rows": [{"name": "parent" | "control" | "child", "model": FOLDER, "parameters", "ppl", "ffn_sparsity",
            "tokens_per_s_dense", "tokens_per_s_sparse"}, ...], "swap": {"ppl", "ffn_sparsity"}}
"""
import json
import os
import subprocess
import sys


def evaluate(model, text, seq_len):
    command = ["build/lacuna", "eval", "-m", model, "--text", text, "--seq-len", str(seq_len), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
        result = json.load(file)
    place = lambda path: os.path.join(folder, path)  # keeps absolute paths
    problems = []
    rows = {row["name"]: row for row in result["rows"]}
    for name in ("parent", "control", "child"):
        row = rows[name]
        anew = evaluate(place(row["model"]), place(result["held_out"]), result["seq_len"])
        # The same program on the same bytes: only the printing of the table may round.
        for key in ("ppl", "ffn_sparsity"):
            if abs(anew[key] - row[key]) > 1e-6 * max(1.0, abs(row[key])):
                problems.append(f"{name}: {key} is {anew[key]}, result.json says {row[key]}")
        for key in ("parameters", "tokens_per_s_dense") + (("tokens_per_s_sparse",) if name == "child" else ()):
            if not row[key] > 0:
                problems.append(f"{name}: {key} is {row[key]}")
    child, control, parent = rows["child"], rows["control"], rows["parent"]
    if child["ffn_sparsity"] < 0.90:
        problems.append(f"child: {child['ffn_sparsity']:.3f} zeros, wanted at least 0.90")
    if child["ppl"] > 1.03 * control["ppl"]:
        problems.append(f"child: perplexity {child['ppl']:.3f}, at most 1.03 x the control's {control['ppl']:.3f}")
    if parent["ppl"] > 0.75 * result["bigram_ppl"]:
        problems.append(f"parent: perplexity {parent['ppl']:.3f}, at most 0.75 x the bigram's {result['bigram_ppl']:.3f}")
    if not {"ppl", "ffn_sparsity"} <= set(result["swap"]):
        problems.append("swap: perplexity or zeros are missing")
    print("\n".join(problems) if problems else "three models evaluated anew, all as in result.json")
    sys.exit(1 if problems else 0)


main()
