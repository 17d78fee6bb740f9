"""A real llama.cpp embeds, and Ollama's clients read it."""

import json
import math
import subprocess
from collections.abc import Iterator

import pytest
from ollama import Client
from openai import OpenAI

from tests.real.client import ask
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, ROOT, Server, llama_server, proxy

DIMENSIONS = 128  # of the demo model
BATCH = 512  # tokens that llama.cpp takes of one text by default


@pytest.fixture(scope="module")
def embedding() -> Iterator[Server]:
    """The proxy in front of a llama.cpp that embeds."""
    with llama_server("--embeddings") as llama, proxy(llama.url) as server:
        yield server


def length(numbers: list[float]) -> float:
    return math.hypot(*numbers)


def test_embed(embedding: Server) -> None:
    """Each text has an embedding of length 1, and the same text the same one."""
    answer = ask(embedding, "POST", "/api/embed", {"model": "tiny", "input": ["hello", "good bye", "hello"]})
    assert answer.status == 200
    assert answer.json["model"] == "tiny"
    first, second, third = answer.json["embeddings"]
    assert len(first) == len(second) == DIMENSIONS
    assert first == pytest.approx(third, abs=1e-4)
    assert first != pytest.approx(second, abs=1e-4)
    for numbers in (first, second):
        assert length(numbers) == pytest.approx(1, abs=1e-4)
    assert answer.json["total_duration"] >= answer.json["load_duration"] >= 1
    assert answer.json["prompt_eval_count"] > 3


def test_published_clients(embedding: Server) -> None:
    """Ollama's clients for Python and JavaScript and OpenAI's read the same embeddings."""
    texts = ["hello", "good bye"]
    with Client(embedding.url, timeout=DEADLINE) as ollama:
        answer = ollama.embed("tiny", texts)
        assert (answer.prompt_eval_count or 0) > 0
        found = [list(numbers) for numbers in answer.embeddings]
        older = list(ollama.embeddings("tiny", "hello").embedding)
    done = subprocess.run(
        ["node", ROOT / "tests/js/embed.js", embedding.url],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    javascript = json.loads(done.stdout)
    with OpenAI(base_url=f"{embedding.url}/v1", api_key="none", timeout=DEADLINE) as openai:
        data = openai.embeddings.create(model="tiny", input=texts).data
    for others in (javascript["embed"]["embeddings"], [each.embedding for each in data]):
        for ours, theirs in zip(found, others, strict=True):
            assert theirs == pytest.approx(ours, abs=1e-4)
    for one in (older, javascript["older"]["embedding"]):
        assert one == pytest.approx(found[0], abs=1e-4)


def test_dimensions(embedding: Server) -> None:
    """A shorter embedding is the same direction, of length 1 again."""
    body = {"model": "tiny", "input": "hello"}
    (whole,) = ask(embedding, "POST", "/api/embed", body).json["embeddings"]
    (short,) = ask(embedding, "POST", "/api/embed", {**body, "dimensions": 32}).json["embeddings"]
    assert len(short) == 32
    assert length(short) == pytest.approx(1, abs=1e-6)
    scale = length(whole[:32])
    assert short == pytest.approx([number / scale for number in whole[:32]], abs=1e-4)


def test_truncation(embedding: Server) -> None:
    """Too long a text is cut to what one batch takes, or refused where it may not be cut."""
    body = {"model": "tiny", "input": ["x " * 2000, "hello"]}
    answer = ask(embedding, "POST", "/api/embed", body)
    assert answer.status == 200
    assert [len(numbers) for numbers in answer.json["embeddings"]] == [DIMENSIONS] * 2
    assert BATCH < answer.json["prompt_eval_count"] < BATCH + 20
    answer = ask(embedding, "POST", "/api/embed", {**body, "truncate": False})
    assert answer.status == 400
    assert answer.json == {"error": "the input length exceeds the context length"}


def test_the_older_route(embedding: Server) -> None:
    """/api/embeddings gives the same embedding, by itself."""
    (numbers,) = ask(embedding, "POST", "/api/embed", {"model": "tiny", "input": "hello"}).json["embeddings"]
    answer = ask(embedding, "POST", "/api/embeddings", {"model": "tiny", "prompt": "hello"})
    assert answer.json.keys() == {"embedding"}
    assert answer.json["embedding"] == pytest.approx(numbers, abs=1e-4)


def test_capabilities(embedding: Server) -> None:
    """A server that embeds says so, and that it chats, which it does too."""
    (model,) = ask(embedding, "GET", "/api/tags").json["models"]
    assert model["capabilities"] == [
        "completion", "insert", "embedding", "thinking", "tools", "planAndExecute",
    ]  # fmt: skip


def test_server_that_does_not_embed(running: Server) -> None:
    """A server that does not embed says neither, and its refusal tells how to start it."""
    (model,) = ask(running, "GET", "/api/tags").json["models"]
    assert model["capabilities"] == ["completion", "insert", "thinking", "tools", "planAndExecute"]
    for path, member in (("/api/embed", "input"), ("/api/embeddings", "prompt")):
        answer = ask(running, "POST", path, {"model": "tiny", member: "hello"})
        assert answer.status == 501
        assert "--embeddings --pooling mean" in answer.json["error"]


def test_context_smaller_than_a_batch(start_proxy: StartProxy) -> None:
    """A text is cut to the context where that is smaller than a batch."""
    with llama_server("--embeddings", "--ctx-size", "1024", "--parallel", "4") as llama:
        server = start_proxy(llama.url)
        answer = ask(server, "POST", "/api/embed", {"model": "tiny", "input": "x " * 2000})
        assert answer.status == 200, answer.body
        assert 0 < answer.json["prompt_eval_count"] <= 256
