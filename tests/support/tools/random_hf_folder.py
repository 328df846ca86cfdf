"""Writes a Hugging Face folder of random weights, bf16, two layers a shard: a stand-in for a checkpoint of that size.
A process a core writes shards; the result does not depend on how many there are.
usage: random_hf_folder.py OUT [layers [hidden ffn heads kv_heads vocab]]   (default: the shape of Mistral-7B)"""
import json
import multiprocessing
import os
import struct
import sys

import numpy as np

out, sizes = sys.argv[1], [int(word) for word in sys.argv[2:]]
layers, hidden, ffn, heads, kv_heads, vocab = sizes + [32, 4096, 14336, 32, 8, 32000][len(sizes):]
head = hidden // heads


def random_bf16(rng, shape):
    """Normal values of deviation 0.02, cut to bf16."""
    return (rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)).view(np.uint32) >> 16


def ones(_, shape):
    return np.full(shape, 0x3F80)


def write_shard(number, name, tensors):
    rng = np.random.default_rng([1, number])
    header, offset = {}, 0
    for key, (shape, _) in tensors.items():
        size = 2 * int(np.prod(shape))
        header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, name), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape, make in tensors.values():
            file.write(make(rng, shape).astype("<u2").tobytes())
    return {key: name for key in tensors}


def layer(index):
    p = f"model.layers.{index}."
    kv = kv_heads * head
    return {
        p + "input_layernorm.weight": ((hidden,), ones),
        p + "self_attn.q_proj.weight": ((heads * head, hidden), random_bf16),
        p + "self_attn.k_proj.weight": ((kv, hidden), random_bf16),
        p + "self_attn.v_proj.weight": ((kv, hidden), random_bf16),
        p + "self_attn.o_proj.weight": ((hidden, heads * head), random_bf16),
        p + "post_attention_layernorm.weight": ((hidden,), ones),
        p + "mlp.gate_proj.weight": ((ffn, hidden), random_bf16),
        p + "mlp.up_proj.weight": ((ffn, hidden), random_bf16),
        p + "mlp.down_proj.weight": ((hidden, ffn), random_bf16),
    }


def tensors_of(number):
    """Of shard `number`: what stands around the layers, then two layers a shard."""
    if number == 0:
        return {
            "model.embed_tokens.weight": ((vocab, hidden), random_bf16),
            "model.norm.weight": ((hidden,), ones),
            "lm_head.weight": ((vocab, hidden), random_bf16),
        }
    first = 2 * (number - 1)
    return {k: v for index in range(first, min(first + 2, layers)) for k, v in layer(index).items()}


shards = 1 + (layers + 1) // 2
os.makedirs(out)
with multiprocessing.get_context("fork").Pool() as pool:
    parts = pool.starmap(write_shard, [(i, f"model-{i + 1:05d}-of-{shards:05d}.safetensors", tensors_of(i))
                                       for i in range(shards)])
where = {key: name for part in parts for key, name in part.items()}
with open(os.path.join(out, "model.safetensors.index.json"), "w") as file:
    json.dump({"metadata": {}, "weight_map": where}, file, indent=1)
with open(os.path.join(out, "config.json"), "w") as file:
    json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
               "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
               "num_key_value_heads": kv_heads, "vocab_size": vocab, "max_position_embeddings": 8192,
               "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
               "torch_dtype": "bfloat16"}, file, indent=1)
