"""The bridge between coding assistants that speak Ollama's API and llama.cpp's llama-server."""

__version__ = "1.0.0"
