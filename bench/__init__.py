"""What a token costs on its way through the proxy, measured beside other ways of doing the same.

    bench/
        __main__.py       the command: options, the order of the rounds, the report
        ways.py           the ways under test, as processes: started, awaited, pinned, ended
        fronts.py         the reverse proxies of deploy/, on ports of ours; tests run them, too
        upstream.py       a process: a llama-server that only keeps time
        load.py           a process: the clients
        sse.py            the one event that both ends agree on, and the reading of it
        measure.py        arithmetic: percentiles, /proc, rounds, targets
        table.py          the report as aligned text
        aiohttp_proxy.py  the peer: a pass-through in aiohttp
        nginx.conf        the other peer

`scripts/bench` runs it. Figures of time live here only; no test asserts one.
"""
