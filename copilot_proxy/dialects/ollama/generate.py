"""What does llama-server get for an /api/generate: a chat, a prompt as it is, or a gap to fill?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ...errors import BadRequest
from . import images
from .chat import written
from .formats import json_schema
from .messages import nothing_remembered
from .options import to_llama
from .requests import GenerateRequest, Message, Request

# llama.cpp's own (mtmd.h), for servers whose /props names none; newer ones make up another at each start
MEDIA_MARKER: Final = "<__media__>"


def chat_body(
    request: GenerateRequest, *, model: str, thinks: bool, template: str, context_length: int | None
) -> bytes:
    """The body for /v1/chat/completions, and for /apply-template: the system's message and the prompt.

    For a request without raw, context and suffix; the rest is what `chat.body` takes. Raises BadRequest and
    BadOption in Ollama's words.
    """
    messages = [Message(role="user", content=request.prompt, images=request.images)]
    if request.system:
        messages.insert(0, Message(role="system", content=request.system))
    return written(
        request,
        messages,
        model=model,
        thinks=thinks,
        template=template,
        context_length=context_length,
        reasoning=nothing_remembered,
    )


def completion_body(
    request: GenerateRequest,
    *,
    model: str,
    prompt: str | Sequence[int | str],
    context_length: int | None,
    media_marker: str = MEDIA_MARKER,
) -> bytes:
    """The body for /completion.

    `prompt` is text, or tokens with text after them. `media_marker` stands for an image in a prompt, as
    upstream's /props tell it. Raises what `chat_body` does, and BadRequest where there are images and the
    prompt is no text: llama-server takes images with nothing else.
    """
    whole: Any = prompt
    if request.images:
        if not isinstance(prompt, str):
            raise BadRequest("context and images do not go together")
        whole = _with_images(prompt, request.images, media_marker)
    return _completion({"model": model, "prompt": whole}, request, context_length)


def infill_body(request: GenerateRequest, *, model: str, context_length: int | None) -> bytes:
    """The body for /infill: what stands before and after the gap. Raises BadOption as `chat_body` does."""
    gap = {"model": model, "input_prefix": request.prompt, "input_suffix": request.suffix}
    return _completion(gap, request, context_length)


# What is read of a completion's events: the last one would also repeat the whole prompt and every setting.
_READ: Final = ("content", "tokens", "stop", "stop_type", "timings", "completion_probabilities")


def _completion(fields: dict[str, Any], request: Request, context_length: int | None) -> bytes:
    if (schema := json_schema(request.format)) is not None:
        fields["json_schema"] = schema
    fields |= to_llama(request.options, context_length=context_length)
    if request.logprobs:
        fields["n_probs"] = max(request.top_logprobs, 1)
    fields |= {"stream": True, "return_tokens": True, "response_fields": _READ, "cache_prompt": True}
    return msgspec.json.encode(fields)


def _with_images(prompt: str, media: Sequence[str], marker: str) -> dict[str, Any]:
    """The prompt with one marker for each image: in place of Ollama's [img-N], else in front."""
    for number in range(len(media)):
        if prompt.count(marker) < len(media):
            prompt = prompt.replace(f"[img-{number}]", marker, 1)
    missing = len(media) - prompt.count(marker)
    return {"prompt_string": marker * missing + prompt, "multimodal_data": list(map(images.checked, media))}
