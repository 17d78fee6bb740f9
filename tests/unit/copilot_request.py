"""What does an agent request of VS Code Copilot look like?

The shape is the one of Copilot Chat 0.67 (VS Code 1.139.1, built-in Ollama provider): the keys in this order,
40 tools, about 72 KB, no max_tokens and no tool_choice, two user messages in a row. The words are made up.
"""

import json
from typing import Any

WITHOUT_PARAMETERS = ("get_terminal_selection", "get_project_setup_info", "get_search_view_results")
"""Tools with no `parameters` key at all, as VS Code wrote them before August 2025."""

WITH_EMPTY_PARAMETERS = ("list_breakpoints", "stop_debugging", "get_active_editor")
"""Tools with `"parameters": {}`, as the Ollama extension 0.0.8 writes them."""

_PARAMETERS = {
    "read_file": ("filePath", "startLine:integer", "endLine:integer"),
    "list_dir": ("path",),
    "grep_search": ("query", "isRegexp:boolean", "includePattern", "maxResults:integer"),
    "file_search": ("query", "maxResults:integer"),
    "semantic_search": ("query",),
    "create_file": ("filePath", "content"),
    "create_directory": ("dirPath",),
    "replace_string_in_file": ("filePath", "oldString", "newString"),
    "multi_replace_string_in_file": ("explanation", "replacements:array"),
    "insert_edit_into_file": ("filePath", "code", "explanation"),
    "run_in_terminal": ("command", "explanation", "isBackground:boolean", "timeout:number"),
    "get_terminal_output": ("id",),
    "kill_terminal": ("id",),
    "get_errors": ("filePaths:array",),
    "get_changed_files": ("repositoryPath", "sourceControlState:array"),
    "list_code_usages": ("symbolName", "filePaths:array"),
    "rename_symbol": ("filePath", "line:integer", "character:integer", "newName"),
    "fetch_webpage": ("urls:array", "query"),
    "github_repo": ("repo", "query"),
    "open_simple_browser": ("url",),
    "view_image": ("filePath",),
    "run_task": ("workspaceFolder", "id"),
    "create_and_run_task": ("workspaceFolder", "task:object"),
    "get_task_output": ("workspaceFolder", "id"),
    "run_tests": ("files:array", "testNames:array"),
    "test_failure": ("files:array",),
    "create_new_jupyter_notebook": ("query",),
    "edit_notebook_file": ("filePath", "cellId", "editType", "language", "newCode"),
    "run_notebook_cell": ("filePath", "cellId", "reason", "continueOnError:boolean"),
    "install_extension": ("id", "name"),
    "run_vscode_command": ("commandId", "name", "args:array"),
    "get_vscode_api": ("query",),
    "manage_todo_list": ("operation", "todoList:array"),
    "ask_questions": ("questions:array",),
}


def agent_request() -> dict[str, Any]:
    """A request of an agent's second round, as the client's own object."""
    return {
        "messages": _messages(),
        "model": "qwen3-coder:30b",
        "temperature": 0.1,
        "top_p": 1,
        "stream": True,
        "tools": [*(_tool(name) for name in _PARAMETERS), *_bare_tools()],
        "n": 1,
        "stream_options": {"include_usage": True},
    }


def compact(request: dict[str, Any]) -> bytes:
    """The request as JSON.stringify writes it."""
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(request: dict[str, Any]) -> bytes:
    """The request as a person saves it on Windows: indented, lines ended by CRLF."""
    return json.dumps(request, indent=2, ensure_ascii=False).replace("\n", "\r\n").encode()


def _tool(name: str) -> dict[str, Any]:
    properties = {}
    for described in _PARAMETERS[name]:
        key, _, kind = described.partition(":")
        properties[key] = {
            "type": kind or "string",
            "description": f'What {name} shall take as its "{key}". '
            + "Relative paths are not understood. " * 4,
            **({"items": {"type": "string"}} if kind == "array" else {}),
        }
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {**_named(name), "parameters": parameters}}


def _bare_tools() -> list[dict[str, Any]]:
    missing = [{"type": "function", "function": _named(name)} for name in WITHOUT_PARAMETERS]
    empty = [
        {"type": "function", "function": {**_named(name), "parameters": {}}} for name in WITH_EMPTY_PARAMETERS
    ]
    return missing + empty


def _named(name: str) -> dict[str, Any]:
    words = name.replace("_", " ")
    return {"name": name, "description": f"Use this to {words}.\nDo so once a turn, not more. " * 9}


def _messages() -> list[dict[str, Any]]:
    rule = "- Read what is there before you change it; say what you did in one line.\n"
    arguments = '{\n  "filePath": "/home/me/café/naïve.py",\n  "startLine": 1,\n  "endLine": 40\n}'
    return [
        {"role": "system", "content": "You are a programmer's assistant.\n\n" + rule * 330},
        {"role": "user", "content": '<environment>\nLinux, bash\t"5.2"\n</environment>\nDate: 2026-10-02'},
        {"role": "user", "content": "Why does  `naïve.py`  print \u201c\\u00e9\u201d instead of é? 🙂"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_0aK7x",
                    "function": {"name": "read_file", "arguments": arguments},
                    "type": "function",
                },
                {
                    "id": "call_9Zq2m",
                    "function": {"name": "get_active_editor", "arguments": "{}"},
                    "type": "function",
                },
            ],
        },
        {
            "role": "tool",
            "content": "def é():\r\n\tprint('\\u00e9')    # here\r\n" * 60,
            "tool_call_id": "call_0aK7x",
        },
        {"role": "tool", "content": "", "tool_call_id": "call_9Zq2m"},
    ]
