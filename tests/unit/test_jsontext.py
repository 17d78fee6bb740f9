"""Does JSON survive being minified and taken apart, and does a refusal say where to look?"""

import json
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.dialects.jsontext import InvalidJSON, items, joined, kind, members, minify, string
from tests.unit.copilot_request import agent_request, compact, pretty

PROFILE = settings(deadline=None, max_examples=150)

ODD_NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1.0E+05",
    "1e400",
    "-1E-400",
    "7" * 50,
    "0." + "1" * 50,
    "1e0000001",
]

numbers = st.sampled_from(ODD_NUMBERS) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)
plain = st.characters(exclude_categories=["Cs"], exclude_characters='"\\', min_codepoint=0x20)
code_unit = st.integers(0, 0xFFFF).filter(lambda unit: not 0xD800 <= unit < 0xE000)
four_digits = st.sampled_from(["{:04x}", "{:04X}"])
escapes = st.one_of(
    st.sampled_from([r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t"]),
    st.builds(lambda unit, digits: r"\u" + digits.format(unit), code_unit, four_digits),
    st.builds(
        lambda high, low, digits: r"\u" + digits.format(high) + r"\u" + digits.format(low),
        st.integers(0xD800, 0xDBFF),
        st.integers(0xDC00, 0xDFFF),
        four_digits,
    ),
)
strings = st.lists(plain | escapes, max_size=8).map(lambda parts: '"' + "".join(parts) + '"')


def _array(values: list[list[str]]) -> list[str]:
    tokens = ["["]
    for value in values:
        tokens += [*value, ","]
    return [*(tokens[:-1] if values else tokens), "]"]


def _object(pairs: list[tuple[str, list[str]]]) -> list[str]:
    tokens = ["{"]
    for key, value in pairs:
        tokens += [key, ":", *value, ","]
    return [*(tokens[:-1] if pairs else tokens), "}"]


documents = st.recursive(
    (numbers | strings | st.sampled_from(["true", "false", "null"])).map(lambda token: [token]),
    lambda values: (
        st.lists(values, max_size=4).map(_array)
        | st.lists(st.tuples(strings | st.just('"twice"'), values), max_size=4).map(_object)
    ),
    max_leaves=12,
)
"""JSON documents as lists of tokens in a random spelling; the same key may come twice."""


@st.composite
def spread(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """The tokens of a document, and the document with whitespace between them."""
    tokens = draw(documents)
    gaps = draw(st.lists(st.text(" \t\r\n", max_size=3), min_size=len(tokens) + 1, max_size=len(tokens) + 1))
    return tokens, (gaps[0] + "".join(t + gap for t, gap in zip(tokens, gaps[1:], strict=True))).encode()


def outcome(body: bytes) -> bytes | InvalidJSON:
    try:
        return minify(body)
    except InvalidJSON as error:
        return error


def refusal(body: bytes) -> InvalidJSON:
    with pytest.raises(InvalidJSON) as caught:
        minify(body)
    return caught.value


class TestMinify:
    def test_a_simple_object(self) -> None:
        """Spaces around keys, values and braces go; an inner space of a string stays."""
        assert minify(b' { "model" : "a b" ,\r\n\t"n" : 1.0 } \n') == b'{"model":"a b","n":1.0}'

    def test_a_tools_array(self) -> None:
        """Keys of a tool keep their order, and its schema keeps its spelling."""
        body = b"""{
            "tools": [
                {"type": "function", "function": {"parameters": { }, "name": "z"}},
                {"function": {"name": "a", "parameters": {"maximum": 1E+2}}, "type": "function"}
            ]
        }"""
        assert minify(body) == (
            b'{"tools":[{"type":"function","function":{"parameters":{},"name":"z"}},'
            b'{"function":{"name":"a","parameters":{"maximum":1E+2}},"type":"function"}]}'
        )

    def test_nested_arrays_and_objects(self) -> None:
        """Empty and nested containers come out whole."""
        body = b'[ [ ] , { } , [ { "a" : [ 1 , [ 2 , { "b" : null } ] ] } ] , true , false ]'
        assert minify(body) == b'[[],{},[{"a":[1,[2,{"b":null}]]}],true,false]'

    def test_a_multi_line_string(self) -> None:
        """Line ends, tabs and runs of spaces inside a string are text, not layout."""
        code = rb'"def f():\n    return  1\r\n\n\tx = \"{ }\"   # [ , ]"'
        assert minify(b'{\n  "content" :\n    ' + code + b"\n}") == b'{"content":' + code + b"}"

    def test_a_whole_copilot_agent_request(self) -> None:
        """A pretty-printed request with CRLF becomes the bytes that JSON.stringify writes."""
        request = agent_request()
        assert len(request["tools"]) == 40
        assert 70_000 < len(compact(request)) < 75_000
        assert minify(pretty(request)) == compact(request)
        assert minify(compact(request)) == compact(request)

    @PROFILE
    @given(spread())
    def test_every_token_survives_as_it_was_spelled(self, document: tuple[list[str], bytes]) -> None:
        """What is left is the document's tokens one after another: no number, string or key is respelled."""
        tokens, body = document
        assert minify(body) == "".join(tokens).encode()
        json.loads(body)  # else the strategy does not write JSON

    @pytest.mark.parametrize(
        "body", [b'{"a":1,"a":2}', b'{"\\u0061":1,"a":"\\/"}', "[\u2028\x7f]".join('""').encode()]
    )
    def test_what_could_be_written_otherwise_is_not(self, body: bytes) -> None:
        """Keys that are there twice and needless escapes are the client's business."""
        assert minify(body) == body

    def test_a_byte_order_mark_is_dropped(self) -> None:
        """llama.cpp b11549 and b8672 take a body with a byte order mark, so it must not be refused here."""
        assert minify(b'\xef\xbb\xbf {"a": 1}') == b'{"a":1}'


class TestRefusals:
    def test_the_message_says_what_and_where(self) -> None:
        """Line, column and byte agree with an editor's, and a piece of the place is shown."""
        error = refusal(b'{\r\n  "a": 1,\r\n    b: 2}')
        assert (error.line, error.column, error.byte) == (3, 5, 18)
        assert str(error) == (
            "not valid JSON: Expecting property name enclosed in double quotes "
            r'at line 3, column 5 (byte 18), near: \n  "a": 1,\r\n    b: 2}'
        )
        assert error.status == 400

    def test_columns_count_characters_and_bytes_count_bytes(self) -> None:
        """Text before the place that takes several bytes a character shifts the byte only."""
        error = refusal('["é🙂", x]'.encode())
        assert (error.line, error.column, error.byte) == (1, 8, 11)

    @pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
    def test_an_empty_body(self, body: bytes) -> None:
        """Nothing at all has a message of its own."""
        assert str(refusal(body)) == "the body is empty, JSON is expected"

    @pytest.mark.parametrize(
        ("body", "reason", "byte"),
        [
            (b'{"a": "x\xff"}', "the byte 0xff is not UTF-8", 8),
            (b'{"a": "\xed\xa0\x80"}', "the byte 0xed is not UTF-8", 7),
            (b'"\xc3', "the byte 0xc3 is not UTF-8", 1),
            (b'\xff\xfe"\x00', "the byte 0xff is not UTF-8", 0),
            (b'\xef\xbb\xbf["\xff"]', "the byte 0xff is not UTF-8", 5),
            (rb'["\ud83d\ude42 \\ud800 \ud83d"]', r"\ud83d is half of a surrogate pair", 23),
            (rb'["\uDE42\ud83d"]', r"\uDE42 is half of a surrogate pair", 2),
            (rb'["\ud83d\u0041"]', r"\ud83d is half of a surrogate pair", 2),
            (rb'{"\ud83d": 1}', r"\ud83d is half of a surrogate pair", 2),
            (b"[NaN]", "invalid character", 1),
            (rb'[NaN, "\ud800", x]', "invalid character", 1),
            (rb'[NaN, "\ud800"]', "invalid character", 1),
            (b"[Infinity]", "invalid character", 1),
            (b'["a\nb"]', "Invalid control character", 3),
            (b'["a', "Unterminated string starting", 1),
            (b"[1, 2", "Expecting ',' delimiter", 5),
            (b'{"a"', "Expecting ':' delimiter", 4),
            (b"{} {}", "Extra data", 3),
            (b"[01]", "Expecting ',' delimiter", 2),
            (b'["\\x"]', "Invalid \\escape", 2),
            (b"// a comment", "Expecting value", 0),
            (b"\xef\xbb\xbf [x]", "Expecting value", 5),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", "Expecting value", 3),
        ],
    )
    def test_reason_and_place(self, body: bytes, reason: str, byte: int) -> None:
        """Each kind of mistake is named, at its first byte."""
        error = refusal(body)
        assert str(error).startswith(f"not valid JSON: {reason} at line 1, column ")
        assert error.byte == byte

    @pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 200_000 + b"]" * 200_000])
    def test_too_deep(self, body: bytes) -> None:
        """Nesting beyond what the interpreter's stack allows is refused like any other mistake."""
        assert str(refusal(body)) == "not valid JSON: nested too deeply"

    def test_a_place_found_by_one_parser_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the standard library gives up over the depth, msgspec's reason and place are used."""
        decode = json.JSONDecoder.decode

        def shallow(self: json.JSONDecoder, text: str) -> object:
            if text.startswith("[["):
                raise RecursionError
            return decode(self, text)

        monkeypatch.setattr(json.JSONDecoder, "decode", shallow)
        error = refusal(b"[[1 2]]")
        assert str(error).startswith("not valid JSON: expected ',' or ']' at line 1, column 5 (byte 4)")

    def test_a_number_too_long_for_int(self) -> None:
        """An integer of more digits than Python converts does not hide the mistake after it."""
        digits = b"9" * (sys.get_int_max_str_digits() + 1)
        assert minify(b"[" + digits + b"]") == b"[" + digits + b"]"
        assert refusal(b"[" + digits + b" x]").byte == len(digits) + 2

    def test_the_excerpt_is_short_and_harmless(self) -> None:
        """At most 40 characters are shown, and none that moves a terminal's cursor."""
        error = refusal(b'["' + b"\x1b" * 100 + b'"]')
        excerpt = str(error).partition("near: ")[2]
        assert 0 < len(excerpt) <= 40
        assert excerpt.isprintable()

    @PROFILE
    @given(st.data(), spread())
    def test_a_damaged_document_is_refused_within_its_bounds(
        self, data: st.DataObject, document: tuple[list[str], bytes]
    ) -> None:
        """Nothing but InvalidJSON is ever raised, its place lies in the document, and what passes is JSON."""
        _, body = document
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(start + 3, len(body))))
        damaged = body[:start] + data.draw(st.binary(max_size=3)) + body[end:]
        result = outcome(damaged)
        if isinstance(result, bytes):
            assert json.loads(result) == json.loads(damaged.decode("utf-8-sig"))
        else:
            assert 0 <= result.byte <= len(damaged)
            assert 1 <= result.line <= damaged.count(b"\n") + 1
            assert 1 <= result.column <= len(damaged) + 1
            assert len(str(result).partition("near: ")[2]) <= 40


class TestParts:
    def test_members_keep_order_and_spelling(self) -> None:
        """An object comes apart into its values as they are spelled, and goes together again."""
        body = b'{"z":1.0E+05,"a":{"y":[1,2]},"m":"\\u00e9\\/"}'
        fields = members(body)
        assert fields is not None
        assert [(key, bytes(value)) for key, value in fields.items()] == [
            ("z", b"1.0E+05"),
            ("a", b'{"y":[1,2]}'),
            ("m", b'"\\u00e9\\/"'),
        ]
        assert bytes(joined(fields)) == body
        assert [(key, bytes(value)) for key, value in (members(fields["a"]) or {}).items()] == [
            ("y", b"[1,2]")
        ]

    def test_the_last_of_two_equal_keys_counts(self) -> None:
        """llama.cpp b11549 took max_tokens 5 from {"max_tokens":3,"max_tokens":5}."""
        assert {k: bytes(v) for k, v in (members(b'{"n":3,"\\u006e":5}') or {}).items()} == {"n": b"5"}

    def test_items_keep_spelling(self) -> None:
        """An array comes apart into its items and goes together again."""
        parts = items(b'[1.0,{"a":2},"x"]')
        assert parts is not None
        assert [bytes(part) for part in parts] == [b"1.0", b'{"a":2}', b'"x"']
        assert bytes(joined(parts)) == b'[1.0,{"a":2},"x"]'

    def test_a_string_is_read_and_written(self) -> None:
        """Escapes are undone on the way in, and only the needed ones are written."""
        assert string(rb'"\u00e9\n\/"') == "é\n/"
        assert bytes(joined("é\n/")) == '"é\\n/"'.encode()

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (b"{}", "an object"),
            (b"[]", "an array"),
            (b'""', "a string"),
            (b"-1", "a number"),
            (b"0", "a number"),
            (b"true", "true"),
            (b"false", "false"),
            (b"null", "null"),
        ],
    )
    def test_each_kind_is_known_and_no_part_is_taken_for_another(self, value: bytes, words: str) -> None:
        """A value has one kind, and only the reader of that kind finds something in it."""
        raw = msgspec.Raw(value)
        assert kind(raw) == kind(value) == words
        assert (members(raw) is not None) == (words == "an object")
        assert (items(raw) is not None) == (words == "an array")
        assert (string(raw) is not None) == (words == "a string")

    @pytest.mark.parametrize("value", [b'{"a"', b'{"\xff":1}', b'{"a":' * 200_000])
    def test_a_broken_object_is_refused(self, value: bytes) -> None:
        """Bytes that never went through minify raise the same error as there."""
        with pytest.raises(InvalidJSON, match="not valid JSON: "):
            members(value)
