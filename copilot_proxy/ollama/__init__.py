"""Ollama's own chat and generate, answered by a llama-server."""
