"""llama-server as the proxy sees it: how it is asked, and what it is."""
