"""Does /api/generate become the chat, the completion or the gap to fill that it is?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from copilot_proxy.dialects.ollama import generate
from copilot_proxy.dialects.ollama.requests import GenerateRequest, read_generate
from copilot_proxy.errors import BadOption, BadRequest

OPTIONS = (
    '"temperature":0.8,"top_k":40,"top_p":0.9,"min_p":0.0,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,'
    '"presence_penalty":0.0,"frequency_penalty":0.0,"seed":-1,"n_keep":4,"n_predict":40960'
)
READ = '["content","tokens","stop","stop_type","timings","completion_probabilities"]'
END = f'"stream":true,"return_tokens":true,"response_fields":{READ},"cache_prompt":true}}'
CHAT_END = '"stream":true,"stream_options":{"include_usage":true},"cache_prompt":true}'
SCHEMA = '{"type":"object","properties":{"b":{"maximum":1.0},"a":{}}}'


def asked(members: str = '"prompt":"p"') -> GenerateRequest:
    return read_generate(f'{{"model":"Tiny",{members}}}'.encode())


def chat(members: str, *, thinks: bool = False) -> str:
    return generate.chat_body(
        asked(members), model="tiny", thinks=thinks, template="", context_length=4096
    ).decode()


def completion(members: str = '"prompt":"p"', prompt: Any = "rendered", **more: str) -> str:
    return generate.completion_body(
        asked(members), model="tiny", prompt=prompt, context_length=4096, **more
    ).decode()


def infill(members: str) -> str:
    return generate.infill_body(asked(members), model="tiny", context_length=4096).decode()


@pytest.mark.parametrize(
    ("members", "messages"),
    [
        ('"prompt":"p"', '{"role":"user","content":"p"}'),
        ('"prompt":"p","system":""', '{"role":"user","content":"p"}'),
        ('"prompt":"p","system":"s"', '{"role":"system","content":"s"},{"role":"user","content":"p"}'),
        (
            '"prompt":"p","images":["QUJD"]',
            '{"role":"user","content":[{"type":"text","text":"p"},'
            '{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,QUJD"}}]}',
        ),
    ],
)
def test_a_chat(members: str, messages: str) -> None:
    """A prompt is what the user says, after what the system says."""
    assert chat(members) == f'{{"model":"tiny","messages":[{messages}],{OPTIONS},{CHAT_END}'


def test_all_that_a_chat_may_hold() -> None:
    """Format, thinking, options and logprobs are those of a chat."""
    written = json.loads(
        chat(f'"prompt":"p","format":{SCHEMA},"options":{{"top_k":1}},"logprobs":true', thinks=True)
    )
    assert written["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)
    assert written["chat_template_kwargs"] == {"enable_thinking": True}
    assert written["top_k"] == 1
    assert (written["logprobs"], written["top_logprobs"]) == (True, 1)


@pytest.mark.parametrize(
    ("prompt", "written"),
    [("rendered", '"rendered"'), ([1, 2, "rendered"], '[1,2,"rendered"]'), ("", '""')],
)
def test_a_completion(prompt: Any, written: str) -> None:
    """A prompt goes as it is, text or tokens with text after them."""
    assert completion(prompt=prompt) == f'{{"model":"tiny","prompt":{written},{OPTIONS},{END}'


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"format":null', ""),
        ('"format":""', ""),
        ('"format":"json"', '"json_schema":{"type":"object"},'),
        (f'"format":{SCHEMA}', f'"json_schema":{SCHEMA},'),
    ],
)
def test_formats(members: str, expected: str) -> None:
    """A schema keeps its bytes, and "json" is any object."""
    members = f'"prompt":"p","suffix":"s",{members}'
    assert completion(members) == f'{{"model":"tiny","prompt":"rendered",{expected}{OPTIONS},{END}'
    assert (
        infill(members) == f'{{"model":"tiny","input_prefix":"p","input_suffix":"s",{expected}{OPTIONS},{END}'
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"logprobs":false,"top_logprobs":5', ""),
        ('"logprobs":true', '"n_probs":1,'),
        ('"logprobs":true,"top_logprobs":20', '"n_probs":20,'),
    ],
)
def test_logprobs(members: str, expected: str) -> None:
    """Logprobs are asked for under the name that /completion has for them."""
    members = f'"prompt":"p","suffix":"s",{members}'
    assert completion(members) == f'{{"model":"tiny","prompt":"rendered",{OPTIONS},{expected}{END}'
    assert (
        infill(members) == f'{{"model":"tiny","input_prefix":"p","input_suffix":"s",{OPTIONS},{expected}{END}'
    )


@pytest.mark.parametrize("members", ['"prompt":"p","format":"xml"', '"prompt":"p","options":{"top_k":""}'])
def test_refusals(members: str) -> None:
    """Wrong formats and options are refused in each of the three shapes."""
    for write in (chat, completion, infill):
        with pytest.raises(BadOption):
            write(members)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("see <M> and <M>", "see <M> and <M>"),
        ("see", "<M><M>see"),
        ("<M>see", "<M><M>see"),
        ("see [img-0] and [img-1]", "see <M> and <M>"),
        ("see [img-1] and [img-0]", "see <M> and <M>"),
        ("see [img-1]", "<M>see <M>"),
        ("[img-0] [img-0]", "<M><M> [img-0]"),
        ("<M><M> wrote [img-0]", "<M><M> wrote [img-0]"),
        ("<M><M><M>", "<M><M><M>"),
    ],
)
def test_images(prompt: str, expected: str) -> None:
    """Each image has a marker: the prompt's own, else one in place of Ollama's [img-N], else one in front."""
    written = json.loads(completion('"prompt":"p","images":["QUJD","QUI="]', prompt, media_marker="<M>"))
    assert written["prompt"] == {"prompt_string": expected, "multimodal_data": ["QUJD", "QUI="]}


def test_the_marker_of_servers_that_tell_none() -> None:
    """Without a marker given, it is the one that llama.cpp has by itself."""
    assert '"prompt_string":"<__media__>rendered"' in completion('"prompt":"p","images":["QUJD"]')


def test_images_and_tokens() -> None:
    """Tokens and images are refused together, and so are images that are no base64."""
    with pytest.raises(BadRequest, match="context and images"):
        completion('"prompt":"p","images":["QUJD"]', [1, "rendered"])
    with pytest.raises(BadRequest, match="illegal base64 data at input byte 0"):
        completion('"prompt":"p","images":["!"]')
