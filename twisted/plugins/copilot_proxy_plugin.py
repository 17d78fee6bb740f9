"""Tells `twist` and `twistd` where the service is made."""

from twisted.application.service import ServiceMaker

copilot_proxy = ServiceMaker(
    "copilot-proxy",
    "copilot_proxy.tap",
    "Stand between Ollama clients such as VS Code Copilot and llama.cpp's llama-server.",
    "copilot-proxy",
)
