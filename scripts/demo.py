"""What does a chat through the proxy look like, with no model at hand?

Starts `twist copilot-proxy --upstream demo:`, which runs llama.cpp with a tiny model, streams one chat and
one tool call through it as a client would, and then waits to be tried by hand. Needs Python alone.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 60  # seconds for an answer
TWIST = (str(Path(sys.executable).with_name("twist")), "--log-format=text")
PROXY = (*TWIST, "copilot-proxy", "--upstream", "demo:")

LISTENS = " listens on "
VS_CODE = " VS Code: "  # the last line that the proxy logs when it starts

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    },
}

HOW_TO_TRY = """
The proxy stays up on {url} until Ctrl-C. To try it from another terminal:

    curl {url}/api/tags
    curl -N {url}/v1/chat/completions -d '{{"model": "demo", "stream": true,
        "messages": [{{"role": "user", "content": "Who are you?"}}]}}'

In VS Code: {vs_code}.
With a model of yours: .venv/bin/twist copilot-proxy --upstream llama:/PATH/MODEL.gguf
"""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
terminal = threading.Lock()  # who prints: an answer is not broken by lines of the log


def deltas(url: str, question: str, tools: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """What each event of a streamed chat adds, as it comes."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "demo", "stream": True, "temperature": 0, "messages": messages, "tools": tools}
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310
    whole = False
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        for line in answer:
            prefix, _, event = line.decode().strip().partition("data: ")
            if event == "[DONE]":
                whole = True
            elif event and not prefix:
                yield json.loads(event)["choices"][0]["delta"]
    if not whole:
        raise SystemExit("the stream ended before its [DONE]")


def said(delta: dict[str, Any]) -> Iterator[str]:
    """The text of a delta, or the piece of a call."""
    yield delta.get("content") or ""
    for call in delta.get("tool_calls", ()):
        function = call["function"]
        yield f"calls {function['name']} with " if "name" in function else ""
        yield function["arguments"]


def chat(url: str, question: str, *tools: Any) -> None:
    """Print a question and, token by token, what is said or called."""
    with terminal:
        print(f"\n> {question}")
        for delta in deltas(url, question, tools):
            print(*said(delta), sep="", end="", flush=True)
        print(flush=True)


def started(proxy: "subprocess.Popen[str]") -> tuple[str, str]:
    """The proxy's URL and what it says to do in VS Code, when it is up; its log is shown meanwhile.

    Ends with the proxy where it cannot start.
    """
    url = ""
    for line in logged(proxy):
        if LISTENS in line:
            url = line.split(LISTENS)[1].strip()
        if VS_CODE in line:
            return url, line.split(VS_CODE)[1].strip()
    status = proxy.wait()
    if status == 1:
        print("To take another port: LISTEN_PORT=11500 scripts/demo", file=sys.stderr)
    raise SystemExit(status)


def logged(proxy: "subprocess.Popen[str]") -> Iterator[str]:
    """Each line of the proxy's log, shown when it comes."""
    for line in proxy.stdout or ():
        with terminal:
            print(line, end="", flush=True)
        yield line


def stop(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Run the proxy with a tiny model.")
    parser.add_argument("--once", action="store_true", help="end after the chat")
    once = parser.parse_args().once
    for number in SIGNALS:
        signal.signal(number, stop)
    print("$", *PROXY, flush=True)
    proxy = subprocess.Popen(  # noqa: S603
        PROXY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # a Ctrl-C is for this program, which then ends the proxy once
    )
    try:
        url, vs_code = started(proxy)
        threading.Thread(target=lambda: [*logged(proxy)]).start()
        chat(url, "Who are you?")
        chat(url, "CALL_TOOL please: how is the weather?", TOOL)
        if not once:
            with terminal:
                print(HOW_TO_TRY.format(url=url, vs_code=vs_code), flush=True)
            raise SystemExit(proxy.wait())
    except HTTPError as error:
        raise SystemExit(f"{error}: {error.read().decode()}") from None
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        proxy.terminate()
        proxy.wait()


if __name__ == "__main__":
    main()
