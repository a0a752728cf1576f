"""An MCP server for the tests of the wrapper. It keeps what it hears, byte for byte, and does what its tools are told to do.

server.py LOG [polite|lingers|stubborn|deaf|late]
"""

import json
import os
import select
import signal
import sys
import time

log = open(sys.argv[1], "ab", buffering=0)
manner = sys.argv[2] if len(sys.argv) > 2 else "polite"
asked = {}


def say(text):
    data = text.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def call(request, params):
    name, arguments = params["name"], params.get("arguments", {})
    if name == "raw":
        say(arguments["raw"])
    elif name == "exit":
        os._exit(arguments["code"])
    elif name == "ask":
        # Its own question has the number of the call.
        say('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.0}}')
        say(json.dumps({"jsonrpc": "2.0", "id": request, "method": "elicitation/create", "params": {"message": "?"}}))
        asked[json.dumps(request)] = request
    elif name == "long":
        os.write(1, b"x" * 65536)
        for _ in range(1025):
            data = b"x" * 65536
            while data:
                data = data[os.write(1, data) :]
    elif name == "flood":
        # Says as much as is taken, and how much that was.
        os.set_blocking(1, False)
        line, total = b'{"jsonrpc":"2.0","method":"notifications/x","params":"%s"}\n' % (b"x" * 65536), 0
        while total < arguments["most"] and select.select([], [1], [], 3)[1]:
            total += os.write(1, line[total % len(line) :])
        log.write(b"said %d\n" % total)


def hear(line):
    try:
        message = json.loads(line)
    except ValueError:
        return
    if not isinstance(message, dict):
        return
    if message.get("method") == "tools/call":
        call(message["id"], message["params"])
    elif "method" in message and "id" in message:
        say(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"method": message["method"]}}))
    elif "result" in message:
        request = asked.pop(json.dumps(message["id"]))
        content = [{"type": "text", "text": json.dumps(message["result"])}]
        say(json.dumps({"jsonrpc": "2.0", "id": request, "result": {"content": content}}))


while manner == "deaf":
    signal.pause()
while manner == "late" and not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.01)
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin.buffer:
    log.write(line)
    hear(line)
log.write(b"end of input\n")
if manner not in ("polite", "late"):
    while True:
        signal.pause()
