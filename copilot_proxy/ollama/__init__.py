"""Ollama's API, answered by a llama-server."""
