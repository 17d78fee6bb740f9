"""The published `openai` client, as many programs use it, against the proxy."""

import json
from collections.abc import Iterator

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, Server

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who are you?"}]
# no parameters, as programs with tools that take none write them
WITHOUT_PARAMETERS: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {"name": "get_time", "description": "Get the time."},
}


def connected(server: Server, path: str = "/v1") -> OpenAI:
    return OpenAI(base_url=server.url + path, api_key="none", max_retries=0, timeout=DEADLINE)


@pytest.fixture
def client(running: Server) -> Iterator[OpenAI]:
    with connected(running) as client:
        yield client


def test_models(client: OpenAI) -> None:
    """It lists the model."""
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_one_model(client: OpenAI) -> None:
    """It retrieves a model by its name, and is told of one that is not there."""
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(NotFoundError, match="model 'absent' not found"):
        client.models.retrieve("absent")


def test_a_whole_answer(client: OpenAI) -> None:
    """It reads an answer that does not stream."""
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0)
    assert answer.choices[0].message.content == FIRST_SENTENCE
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 14


@pytest.mark.parametrize("path", ["/v1", ""])
def test_a_stream(path: str, running: Server) -> None:
    """It reads a stream to its end, with and without /v1 in the address that it was given."""
    with connected(running, path) as client:
        stream = client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0, stream=True)
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == FIRST_SENTENCE
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_its_own_stream_helper(client: OpenAI) -> None:
    """Its helper, which puts a stream together, comes to the whole message."""
    with client.chat.completions.stream(model="tiny", messages=QUESTION, temperature=0) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == FIRST_SENTENCE


def test_a_completion(client: OpenAI) -> None:
    """It reads a completion of a text."""
    answer = client.completions.create(model="tiny", prompt="The quick brown", max_tokens=3, temperature=0)
    assert answer.choices[0].text == " fox jumps over"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_round(stream: bool, client: OpenAI) -> None:
    """A tool without parameters is called, and its result goes back into a last answer."""
    question: ChatCompletionMessageParam = {"role": "user", "content": "CALL_TOOL what time is it?"}
    if stream:
        with client.chat.completions.stream(
            model="tiny", messages=[question], tools=[WITHOUT_PARAMETERS], temperature=0
        ) as events:
            events.until_done()
            choice = events.get_final_completion().choices[0]
            finish_reason, message = choice.finish_reason, choice.message
    else:
        answer = client.chat.completions.create(
            model="tiny", messages=[question], tools=[WITHOUT_PARAMETERS], temperature=0
        )
        finish_reason, message = answer.choices[0].finish_reason, answer.choices[0].message  # type: ignore[assignment]
    assert finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_time"
    assert json.loads(call.function.arguments) == {}
    turns: list[ChatCompletionMessageParam] = [
        question,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "noon"},
    ]
    last = client.chat.completions.create(
        model="tiny", messages=turns, tools=[WITHOUT_PARAMETERS], temperature=0
    )
    assert last.choices[0].message.content == FIRST_SENTENCE


def test_an_error_of_llama_cpp(client: OpenAI) -> None:
    """What llama.cpp refuses is the client's own exception, with llama.cpp's words."""
    with pytest.raises(BadRequestError, match="max_tokens") as raised:
        client.chat.completions.create(model="tiny", messages=QUESTION, extra_body={"max_tokens": "5"})
    assert raised.value.type == "invalid_request_error"


def test_an_error_of_the_proxy(start_proxy: StartProxy, unused_port: int) -> None:
    """A llama-server that is not there is the client's own exception, with what to do."""
    server = start_proxy(f"http://127.0.0.1:{unused_port}")
    with (
        connected(server) as client,
        pytest.raises(APIStatusError, match="is it running") as raised,
    ):
        client.chat.completions.create(model="tiny", messages=QUESTION)
    assert raised.value.status_code == 502
    assert raised.value.code == "upstream_refused"
