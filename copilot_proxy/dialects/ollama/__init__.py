"""Ollama's own API, as far as requests and answers are text: pure functions, with no reactor."""
