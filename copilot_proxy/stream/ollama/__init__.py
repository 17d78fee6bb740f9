"""One answer of llama-server's as Ollama writes it: in lines, or as one document."""
