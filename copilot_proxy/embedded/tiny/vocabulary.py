"""Which tokens does the tiny model have, and which text makes which token?"""

from collections.abc import Iterator

import attrs
from gguf import TokenType

FIRST_SENTENCE = "I am a tiny language model running locally on your own machine."
# Each word occurs once in all sentences: a bigram chain cannot tell two places of one word apart.
SENTENCES = (
    FIRST_SENTENCE,
    "The quick brown fox jumps over that lazy dog.",
    "Every answer comes from hand made weights without any training.",
    "Pack my box with five dozen liquor jugs.",
    "Please read this text as plain test output.",
    "Bright vixens hop while big frogs nap under green trees.",
)
STRING_WORD = "value"  # what a JSON string holds under greedy decoding

# Only there to make prompts shorter in tokens; hardly ever generated.
INPUT_WORDS = """the of and to in is it you for not be are or an at by if on can will use used
using file files line lines code function functions name type types string object array number
integer boolean null true false description parameters properties required arguments result
user assistant system tool tools call calls content message messages role return import class
def self print include error edit change create delete search find list get set path directory
repository project workspace python javascript question request response must should when then
else only all more one two what how why who where which there here other each has have had was
were do does did your their our its into out up down about after before between example help
location city weather format command run open close start stop end new old first last""".split()  # noqa: SIM905

CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
TAGS = (
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
MARKERS = ("CALL_TOOL", "THINK_FIRST", "TALK_LONG")


def _byte_characters() -> tuple[str, ...]:
    """Give the printable character by which GPT-2's byte-level BPE writes each of the 256 bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    stand_ins = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(stand_ins)) for byte in range(256))


BYTE_CHARACTERS = _byte_characters()


def encoded(text: str) -> str:
    """Write `text` in GPT-2's byte characters, as tokens and merges are written."""
    return "".join(BYTE_CHARACTERS[byte] for byte in text.encode())


def chains() -> tuple[tuple[str, ...], ...]:
    """Split each sentence as GPT-2's regex does: "I", " am", ..., ".".

    The first sentence opens a reply; the others follow a full stop, so their first word has a space too.
    """
    return tuple(_chain(sentence) for sentence in SENTENCES)


def _chain(sentence: str) -> tuple[str, ...]:
    first, *others = sentence.removesuffix(".").split(" ")
    opener = first if sentence == FIRST_SENTENCE else f" {first}"
    return (opener, *(f" {word}" for word in others), ".")


@attrs.frozen
class Vocabulary:
    """The tokens in the order of their ids, with the merges that lead to them."""

    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    ids: dict[str, int]

    def id(self, text: str) -> int:
        """Give the id of the one token that stands for `text`; KeyError where there is none."""
        return self.ids[text if text in self.ids else encoded(text)]


def build() -> Vocabulary:
    """Give every byte a token, then every word with its left-to-right merges, then the special tokens."""
    types = dict.fromkeys(BYTE_CHARACTERS, TokenType.NORMAL)
    merges: dict[str, None] = {}
    for word in _merged_words():
        text = encoded(word)
        for length in range(1, len(text)):
            merges[f"{text[:length]} {text[length]}"] = None
            types.setdefault(text[: length + 1], TokenType.NORMAL)
    for token in CONTROL:
        types.setdefault(token, TokenType.CONTROL)
    for token in TAGS + MARKERS:
        types.setdefault(token, TokenType.USER_DEFINED)  # these match inside any text
    return Vocabulary(
        tokens=tuple(types),
        types=tuple(types.values()),
        merges=tuple(merges),
        ids={token: number for number, token in enumerate(types)},
    )


def _merged_words() -> Iterator[str]:
    for chain in chains():
        yield from chain[:-1]
    yield STRING_WORD
    for word in INPUT_WORDS:
        yield word
        yield f" {word}"
