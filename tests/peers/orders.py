"""Orders to a process of its own: a JSON object a line on its standard input, an answer a line on its
standard output."""

import json
import subprocess
import sys


def serve(server):
    """Carries out orders, each by the method that it names, until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(server, order.pop("do"))(**order)), flush=True)


def give(process: subprocess.Popen, do: str, **order):
    """Has an order carried out. The process ends on its own errors, and so does this wait."""
    process.stdin.write(json.dumps({"do": do} | order) + "\n")
    process.stdin.flush()
    if not (said := process.stdout.readline()):
        raise RuntimeError(f"the process for {do!r} has ended: {order}")
    return json.loads(said)
