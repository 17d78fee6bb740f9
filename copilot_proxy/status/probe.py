"""Does the proxy on this machine's LISTEN_PORT answer? For the health check of a container without curl.

    python -m copilot_proxy.status.probe

ends with status 0 where /health says 200, and else with 1 and a line that says why. It cannot know a port
that was given with --port. http.client asks and not urllib, which would heed an HTTP_PROXY.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import NoReturn

PATIENCE = 4.0  # seconds, below the timeout of the Dockerfile's HEALTHCHECK


def main() -> NoReturn:
    """Ask, and end the process with what was found."""
    port = int(os.environ.get("LISTEN_PORT") or 11434)
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.exit(f"http://127.0.0.1:{port}/health: {error}")
    finally:
        connection.close()
    sys.exit(None if status == 200 else f"http://127.0.0.1:{port}/health: {status}")


if __name__ == "__main__":
    main()
