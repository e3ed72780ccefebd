"""The two ledgers and the counters of edge-gpu, asked over HTTP."""

import json
import re
import urllib.request

from . import layout as at

DEADLINE_S = 10


def fetch(address, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}{path}", timeout=DEADLINE_S) as answer:
        return answer.read().decode()


def scheduler():
    """{node: {"GPUs": […], …}}"""
    return json.loads(fetch(at.EXTENDER, "/status"))


def agent():
    """{"cards": […], "holders": […], …}"""
    return json.loads(fetch(at.AGENT_STATUS, "/status"))


def metrics():
    """The agent's metrics, as Prometheus reads them."""
    return fetch(at.AGENT_STATUS, "/metrics")


def calls():
    """How often kube-scheduler has called each verb of the extender."""
    text = fetch(at.EXTENDER, "/metrics")
    found = re.findall(r'^edge_gpu_scheduler_request_seconds_count\{verb="(\w+)"\} ([\d.e+]+)$', text, re.MULTILINE)
    return {**dict.fromkeys(("filter", "priorities", "bind", "preempt"), 0), **{verb: int(float(count)) for verb, count in found}}
