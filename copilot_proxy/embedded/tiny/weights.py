"""Which numbers make a one-layer transformer behave as `behaviour` says?

The residual stream has named dimensions in front and random ones from RANDOM on:

- embedding: a constant (it gives matrices a bias), at most one marker's flag, a random part; rms exactly 1
- attention: each marker has the same large key, any other token a zero key; so the one head averages the
  markers of the context, and count i holds (weighted number of markers) / (number of markers)
- feed-forward: feature = clamp(GAIN * (count - threshold), 0, ON): is the count positive?
- output: noise, a bias for each token, the bigrams, and the features that steer
"""

import attrs
import numpy as np
import numpy.typing as npt
from gguf import TokenType

from .behaviour import (
    CHAIN_WORD,
    MARKERS,
    MAY_CALL_AFTER,
    NEVER,
    OTHER_WORD,
    PRINTABLE,
    STEERING,
    TOKEN_BIAS,
    Signal,
    bigram_sources,
    bigrams,
)
from .vocabulary import STRING_WORD, Vocabulary, chains

Matrix = npt.NDArray[np.float64]

WIDTH = 128  # dimensions of the residual stream
FEED_FORWARD = 32  # units of the hidden layer
CONSTANT = 0  # dimension 0; the markers' flags follow it
MAY_CALL = 8  # the flag of the tokens after which a tool call may start
COUNTS = 9  # + signal
FEATURES = 16  # + signal
RANDOM = 32

FLAG = 4.0  # the value of the constant, and of a flag that is set
ON = 6.0  # the value of a feature that is on
UNIT = 1 / 8  # what one marker adds to a count; exact in half precision, too
GAIN = 32000.0  # with the threshold: good for up to about 150 markers in a context
THRESHOLD = 12 / GAIN
NOISE = 0.09
QUERY = 10.0
SCORE = 30.0  # attention weighs a marker e**30 times as much as another token
SLOWEST = WIDTH - 2  # the first half of the rotary pair that hardly turns: there, order does not matter


@attrs.frozen(eq=False)
class Weights:
    """Every matrix of the model; `block` has those of its one layer by their names in a GGUF file."""

    embedding: Matrix
    block: dict[str, Matrix]
    output: Matrix


def build(vocabulary: Vocabulary, seed: int) -> Weights:
    """Draw the random part from `seed` and set the rest by hand; the same seed gives the same numbers."""
    random = np.random.default_rng(seed)
    embedding = _embedding(vocabulary, random)
    return Weights(
        embedding=embedding,
        block={**_attention(), **_feed_forward()},
        output=_output(vocabulary, embedding, random),
    )


def _embedding(vocabulary: Vocabulary, random: np.random.Generator) -> Matrix:
    free = WIDTH - RANDOM
    rows = np.zeros((len(vocabulary.tokens), WIDTH))
    rows[:, RANDOM:] = random.standard_normal((len(rows), free))
    orthogonal = np.linalg.qr(random.standard_normal((free, free)))[0]  # so bigrams do not interfere
    for number, text in enumerate(bigram_sources()):
        rows[vocabulary.id(text), RANDOM:] = orthogonal[number]
    rows[:, CONSTANT] = FLAG
    for text, marker in MARKERS.items():
        rows[vocabulary.id(text), marker.flag] = FLAG
    for text in MAY_CALL_AFTER:
        rows[vocabulary.id(text), MAY_CALL] = FLAG
    fixed = (rows[:, :RANDOM] ** 2).sum(1)
    drawn = (rows[:, RANDOM:] ** 2).sum(1)
    rows[:, RANDOM:] *= np.sqrt((WIDTH - fixed) / drawn)[:, None]
    return rows


def _bias(vocabulary: Vocabulary) -> Matrix:
    bias = np.full(len(vocabulary.tokens), NEVER)
    for character in range(32, 127):
        bias[vocabulary.id(chr(character))] = PRINTABLE
    for number in range(256, len(bias)):
        bias[number] = OTHER_WORD if vocabulary.types[number] == TokenType.NORMAL else NEVER
    for chain in chains():
        for word in chain[:-1]:
            bias[vocabulary.id(word)] = CHAIN_WORD
    bias[vocabulary.id(STRING_WORD)] = CHAIN_WORD
    for text, logit in TOKEN_BIAS.items():
        bias[vocabulary.id(text)] = logit
    return bias


def _output(vocabulary: Vocabulary, embedding: Matrix, random: np.random.Generator) -> Matrix:
    rows = np.zeros((len(vocabulary.tokens), WIDTH))
    rows[:, RANDOM:] = random.standard_normal((len(rows), WIDTH - RANDOM)) * NOISE
    rows[:, CONSTANT] = _bias(vocabulary) / FLAG
    for before, after, strength in bigrams():
        source = embedding[vocabulary.id(before), RANDOM:]
        rows[vocabulary.id(after), RANDOM:] += strength * source / (source @ source)
    for token, signal, logit in STEERING:
        rows[vocabulary.id(token), FEATURES + signal] = logit / ON
    return rows


def _attention() -> dict[str, Matrix]:
    query, key, value, output = (np.zeros((WIDTH, WIDTH)) for _ in range(4))
    query[SLOWEST, CONSTANT] = QUERY / FLAG
    for marker in MARKERS.values():
        key[SLOWEST, marker.flag] = SCORE * np.sqrt(WIDTH) / QUERY / FLAG
        for signal, weight in marker.counts.items():
            value[COUNTS + signal, marker.flag] = weight * UNIT / FLAG
    for signal in Signal:
        output[COUNTS + signal, COUNTS + signal] = 1.0
    return {"attn_q": query, "attn_k": key, "attn_v": value, "attn_output": output}


def _feed_forward() -> dict[str, Matrix]:
    gate = np.zeros((FEED_FORWARD, WIDTH))
    up = np.zeros((FEED_FORWARD, WIDTH))
    down = np.zeros((WIDTH, FEED_FORWARD))

    def clamp(unit: int, count: Signal, feature: Signal, sign: int, only_if: int = CONSTANT) -> None:
        """Let two silu units add sign * clamp(GAIN * sign * (count - THRESHOLD), 0, ON) to a feature."""
        for step in (0, 1):
            gate[unit + step, COUNTS + count] = sign * GAIN
            gate[unit + step, CONSTANT] = (-GAIN * sign * THRESHOLD - ON * step) / FLAG
            up[unit + step, only_if] = 1.0 / FLAG
            down[FEATURES + feature, unit + step] = sign * (1 - 2 * step)

    for signal in Signal:
        clamp(2 * signal, signal, signal, 1, MAY_CALL if signal is Signal.CALL else CONSTANT)
    clamp(2 * len(Signal), Signal.TOOLS, Signal.CALL, -1, MAY_CALL)  # no tools are offered: no call
    return {"ffn_gate": gate, "ffn_up": up, "ffn_down": down}
