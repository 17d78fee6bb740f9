"""Does the proxy on LISTEN_INTERFACE and LISTEN_PORT answer? For health checks of containers without curl.

    python -m copilot_proxy.status.probe

ends with status 0 where /health/live says 200, and else with 1 and a line that says why. Whether llama-server
answers does not matter. It cannot know a port that was given with --port. http.client asks and not urllib,
which would heed an HTTP_PROXY.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import NoReturn

PATIENCE = 4.0  # seconds, below the timeout of the Dockerfile's HEALTHCHECK


def main() -> NoReturn:
    """Ask, and end the process with what was found."""
    port = int(os.environ.get("LISTEN_PORT") or 11434)
    listens = ip_address(os.environ.get("LISTEN_INTERFACE") or "127.0.0.1")
    local = "127.0.0.1" if listens.version == 4 else "::1"
    host = local if listens.is_unspecified else str(listens)
    url = f"http://{f'[{host}]' if listens.version == 6 else host}:{port}/health/live"
    connection = HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.exit(f"{url}: {error}")
    finally:
        connection.close()
    sys.exit(None if status == 200 else f"{url}: {status}")


if __name__ == "__main__":
    main()
