"""How do the vocabulary, the template and the weights become one GGUF file?"""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from . import vocabulary, weights
from .template import CHAT_TEMPLATE

# With a base as high as this the slowest rotary pair hardly turns: see `weights.SLOWEST`.
ROPE_BASE = 1e9
ALL_F32 = 0  # llama.cpp's LLAMA_FTYPE_ALL_F32


def save(path: Path, *, seed: int, context_length: int) -> None:
    """Write the model to `path`, in place; the same seed and context length give the same bytes.

    Raises OSError where the file cannot be written.
    """
    words = vocabulary.build()
    file = GGUFWriter(path, "llama")
    _describe(file, words, context_length)
    for name, matrix in _tensors(weights.build(words, seed)).items():
        file.add_tensor(f"{name}.weight", np.ascontiguousarray(matrix, dtype=np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _describe(file: GGUFWriter, words: vocabulary.Vocabulary, context_length: int) -> None:
    file.add_name("Tiny Random Llama")
    file.add_description("random weights for tests; not a language model")
    file.add_license("cc0-1.0")
    file.add_file_type(ALL_F32)
    file.add_context_length(context_length)
    file.add_embedding_length(weights.WIDTH)
    file.add_block_count(1)
    file.add_feed_forward_length(weights.FEED_FORWARD)
    file.add_head_count(1)
    file.add_head_count_kv(1)
    file.add_rope_dimension_count(weights.WIDTH)
    file.add_rope_freq_base(ROPE_BASE)
    file.add_layer_norm_rms_eps(1e-6)
    file.add_vocab_size(len(words.tokens))
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(words.tokens)
    file.add_token_types(words.types)
    file.add_token_merges(words.merges)
    file.add_eos_token_id(words.id("<|im_end|>"))
    file.add_pad_token_id(words.id("<|endoftext|>"))
    file.add_bos_token_id(words.id("<|endoftext|>"))
    file.add_add_bos_token(False)
    file.add_chat_template(CHAT_TEMPLATE)


def _tensors(model: weights.Weights) -> dict[str, weights.Matrix]:
    ones = np.ones(weights.WIDTH)
    return {
        "token_embd": model.embedding,
        "blk.0.attn_norm": ones,
        "blk.0.ffn_norm": ones,
        **{f"blk.0.{name}": matrix for name, matrix in model.block.items()},
        "output_norm": ones,
        "output": model.output,
    }
