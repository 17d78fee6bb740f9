"""The published `ollama` client for Python, as Home Assistant and LangChain use it, against the proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ollama import ChatResponse, Client, GenerateResponse, ResponseError

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import until_free
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, Server

QUESTION = [{"role": "user", "content": "Who are you?"}]
EXACT = {"temperature": 0, "seed": 1}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
      city: The name of the city.
    """
    return f"sunny in {city}"


@pytest.fixture
def client(running: Server) -> Iterator[Client]:
    with Client(running.url, timeout=DEADLINE) as client:
        yield client


def assert_measured(last: ChatResponse | GenerateResponse) -> None:
    """The six figures of a finished answer are there, and make sense."""
    assert last.done is True
    assert last.total_duration is not None
    for part in (last.load_duration, last.prompt_eval_duration, last.eval_duration):
        assert part is not None
        assert 0 < part <= last.total_duration
    assert (last.prompt_eval_count or 0) > 0
    assert (last.eval_count or 0) > 0


def test_chat(client: Client) -> None:
    """It reads a whole answer."""
    answer = client.chat("tiny", QUESTION, options=EXACT)
    assert answer.message.role == "assistant"
    assert answer.message.content == FIRST_SENTENCE
    assert answer.message.thinking is None
    assert (answer.model, answer.done_reason, answer.eval_count) == ("tiny", "stop", 14)
    assert_measured(answer)


def test_chat_streamed(client: Client) -> None:
    """It reads the same answer in parts, of which only the last is the end."""
    parts = list(client.chat("tiny", QUESTION, stream=True, options=EXACT))
    assert "".join(part.message.content or "" for part in parts) == FIRST_SENTENCE
    assert len(parts) == 14  # 13 tokens with text, and the end
    assert [part.done for part in parts] == [False] * 13 + [True]
    assert_measured(parts[-1])


def test_thinking(client: Client) -> None:
    """What the model thinks comes apart from what it says, and stays away where it is not wanted."""
    question = [{"role": "user", "content": "THINK_FIRST Who are you?"}]
    answer = client.chat("tiny", question, think=True, options=EXACT)
    assert answer.message.thinking
    assert answer.message.content
    assert "think>" not in answer.message.thinking + answer.message.content
    parts = list(client.chat("tiny", question, think=True, stream=True, options=EXACT))
    assert "".join(part.message.thinking or "" for part in parts) == answer.message.thinking
    assert "".join(part.message.content or "" for part in parts) == answer.message.content
    assert all(not part.message.content for part in parts if part.message.thinking)
    assert client.chat("tiny", question, think=False, options=EXACT).message.thinking is None


@pytest.mark.parametrize("stream", [False, True])
def test_tools(stream: bool, client: Client) -> None:
    """A tool made of a function is called, and its result goes back without an id, as here."""
    turns: list[Any] = [{"role": "user", "content": "CALL_TOOL How is the weather?"}]
    if stream:
        parts = client.chat("tiny", turns, tools=[get_weather], stream=True, options=EXACT)
        (message,) = (part.message for part in parts if part.message.tool_calls)
    else:
        message = client.chat("tiny", turns, tools=[get_weather], options=EXACT).message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.function.name == "get_weather"
    assert set(call.function.arguments) == {"city"}
    result = get_weather(**call.function.arguments)
    turns += [message, {"role": "tool", "tool_name": "get_weather", "content": result}]
    last = client.chat("tiny", turns, tools=[get_weather], options=EXACT)
    assert last.message.tool_calls is None
    assert last.message.content == FIRST_SENTENCE


def test_two_calls_whose_results_have_neither_id_nor_name(client: Client) -> None:
    """Home Assistant's results are told apart by nothing but their order."""
    turns: list[Any] = [{"role": "user", "content": "CALL_TOOL CALL_TOOL Here and there?"}]
    message = client.chat("tiny", turns, tools=[get_weather], options=EXACT).message
    assert len(message.tool_calls or ()) == 2
    turns += [message, {"role": "tool", "content": "sunny"}, {"role": "tool", "content": "rainy"}]
    assert client.chat("tiny", turns, tools=[get_weather], options=EXACT).message.content == FIRST_SENTENCE


@pytest.mark.parametrize("schema", ["json", PERSON])
def test_format(schema: Any, client: Client) -> None:
    """With a format the answer is JSON, of the schema's shape where there is one."""
    answer = client.chat("tiny", QUESTION, format=schema, options={**EXACT, "num_predict": 200})
    document = json.loads(answer.message.content or "")
    assert isinstance(document, dict)
    if schema is PERSON:
        assert (type(document["name"]), type(document["age"])) == (str, int)


def test_generate(client: Client) -> None:
    """A prompt is completed by the template; the context that comes goes back into the next request."""
    answer = client.generate("tiny", "Who are you?", system="Be brief.", options=EXACT)
    assert answer.response == FIRST_SENTENCE
    assert_measured(answer)
    assert answer.context
    assert answer.prompt_eval_count
    follow = client.generate("tiny", "Who are you?", context=answer.context, options=EXACT)
    assert follow.response == FIRST_SENTENCE
    assert (follow.prompt_eval_count or 0) >= len(answer.context)
    assert list(follow.context or ())[: len(answer.context)] == list(answer.context)


def test_generate_streamed(client: Client) -> None:
    """It reads the parts of a generated text."""
    parts = list(client.generate("tiny", "Who are you?", stream=True, options=EXACT))
    assert "".join(part.response or "" for part in parts) == FIRST_SENTENCE
    assert [bool(part.context) for part in parts] == [False] * 13 + [True]
    assert_measured(parts[-1])


def test_generate_raw(client: Client) -> None:
    """A raw prompt reaches the model as it is, and has no context."""
    answer = client.generate("tiny", "The quick brown", raw=True, options={**EXACT, "num_predict": 3})
    assert answer.response == " fox jumps over"
    assert (answer.done_reason, answer.context) == ("length", None)


def test_generate_between(client: Client) -> None:
    """A suffix makes it an infill, for a model that can."""
    answer = client.generate("tiny", "def f(", suffix="return 1", options={**EXACT, "num_predict": 8})
    assert answer.response
    assert answer.done_reason in ("stop", "length")


def test_generate_thinking(client: Client) -> None:
    """Thoughts are apart here too, also behind an earlier context."""
    answer = client.generate("tiny", "THINK_FIRST", think=True, options=EXACT)
    assert answer.thinking
    assert answer.response
    again = client.generate("tiny", "THINK_FIRST", think=True, context=answer.context, options=EXACT)
    assert again.thinking
    assert "think>" not in f"{again.thinking}{again.response}"


def test_load_and_unload(client: Client) -> None:
    """Without a prompt a model is loaded, or unloaded, and nothing is generated."""
    for answer, reason in (
        (client.generate("tiny"), "load"),
        (client.generate("tiny", keep_alive=0), "unload"),
    ):
        assert (answer.done, answer.done_reason, answer.response) == (True, reason, "")
    for chat, reason in ((client.chat("tiny"), "load"), (client.chat("tiny", keep_alive=0), "unload")):
        assert (chat.done, chat.done_reason, chat.message.content) == (True, reason, "")


def test_listings(client: Client) -> None:
    """It lists the model, what it can do, and that it is in memory."""
    (model,) = client.list().models
    assert model.model == "tiny"
    show = client.show("tiny")
    assert {"completion", "tools", "thinking", "insert"} <= set(show.capabilities or ())
    assert (show.modelinfo or {})["llama.context_length"] == 32768
    (loaded,) = client.ps().models
    assert (loaded.model, loaded.context_length) == ("tiny", 32768)
    assert loaded.expires_at is not None


def test_logprobs(client: Client) -> None:
    """Each token's probability is told, with the bytes of the token."""
    answer = client.chat("tiny", QUESTION, logprobs=True, top_logprobs=2, options=EXACT)
    assert answer.logprobs is not None
    assert "".join(one.token for one in answer.logprobs).startswith(FIRST_SENTENCE)
    for one in answer.logprobs:
        assert one.logprob <= 0
        assert len(one.top_logprobs or ()) == 2


def test_pull(client: Client) -> None:
    """A model that is there is pulled at once; another belongs to llama-server."""
    assert client.pull("tiny").status == "success"
    assert [part.status for part in client.pull("tiny", stream=True)][-1] == "success"
    for stream in (False, True):
        with pytest.raises(ResponseError, match="llama-server"):
            list(client.pull("llama3.2", stream=stream))


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({"model": "absent", "messages": QUESTION}, 404, "model 'absent' not found"),
        (
            {"model": "tiny", "messages": QUESTION, "options": {"temperature": "hot"}},
            500,
            'option "temperature" must be of type float32',
        ),
    ],
)
def test_errors(asked: dict[str, Any], status: int, text: str, client: Client) -> None:
    """What is wrong is the client's own exception, with Ollama's words and status."""
    for stream in (False, True):
        with pytest.raises(ResponseError) as raised:
            list(client.chat(**asked, stream=stream))
        assert (raised.value.status_code, raised.value.error) == (status, text)


def test_a_client_that_leaves(start_proxy: StartProxy, llama: Server) -> None:
    """A reader that goes away in the middle of an endless answer frees the slot, streamed or not."""
    with Client(start_proxy(llama.url).url, timeout=DEADLINE) as client:
        endless = [{"role": "user", "content": "TALK_LONG"}]
        parts = iter(client.chat("tiny", endless, stream=True))
        assert next(parts).message.content
    until_free(llama)
    with (
        Client(start_proxy(llama.url).url, timeout=0.5) as hasty,
        pytest.raises(Exception, match="timed out"),
    ):
        hasty.chat("tiny", endless)
    until_free(llama)


def test_an_error_of_the_proxy(start_proxy: StartProxy, unused_port: int) -> None:
    """A llama-server that is not there is told with what to do."""
    with Client(start_proxy(f"http://127.0.0.1:{unused_port}").url) as client:
        with pytest.raises(ResponseError, match="is it running") as raised:
            client.chat("tiny", QUESTION)
        assert raised.value.status_code == 502
