"""A tool server for tests, of the standard library only: each tool misbehaves, or shows what arrived, in a way of its own.

It works on raw lines, so that what it tells of them is what was on the wire. What it must remember is in the directory
given as its argument: `lines` (every line received), `effects` (ids of performed calls, synced before they are answered),
`tools.json` (what it lists, read anew each time), `result` (the next result of `fixed`, as bytes).
"""

import fcntl
import json
import os
import sys
import threading

DIRECTORY = sys.argv[1]
ERA = sys.argv[2] if len(sys.argv) > 2 else "both"
MODERN = "2026-07-28"
OUT = threading.Lock()


def path(name):
    return os.path.join(DIRECTORY, name)


def append(name, line):
    handle = os.open(path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # One write: several servers may share the file.
        os.write(handle, line + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def send(line):
    data = line + b"\n"
    with OUT:
        while data:
            data = data[os.write(1, data):]


def send_json(message):
    send(json.dumps(message).encode())


def answer(request_id, result):
    send_json({"jsonrpc": "2.0", "id": request_id, "result": result})


def fail(request_id, code, message):
    send_json({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})


def text(message, **more):
    return {"content": [{"type": "text", "text": message}], **more}


def initialize(request_id, params, _line):
    if ERA == "modern":
        return fail(request_id, -32601, "no handshake here")
    answer(request_id, {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {"listChanged": True}, "prompts": {}, "resources": {}},
        "serverInfo": {"name": "fake", "version": "1"},
    })


def discover(request_id, _params, _line):
    if ERA == "legacy":
        return fail(request_id, -32601, "Method not found")
    answer(request_id, {
        "resultType": "complete",
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "1"}},
    })


def list_tools(request_id, params, _line):
    with open(path("noise"), "a+") as noise:
        # So many lists are announced to be stale before they are given.
        noise.seek(0)
        left = int(noise.read() or 0)
        if left > 0:
            noise.truncate(0)
            noise.write(str(left - 1))
            send_json({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    with open(path("tools.json"), "rb") as handle:
        # The bytes of the file, on one line.
        tools = b"".join(handle.read().splitlines())
    body = tools[:-1]
    if is_modern(params):
        body += b',"resultType":"complete","ttlMs":0,"cacheScope":"private"'
    send(b'{"jsonrpc":"2.0","id":%d,"result":%s}}' % (request_id, body))


def is_modern(params):
    return "io.modelcontextprotocol/protocolVersion" in params.get("_meta", {})


# Tools. Each gets the request's id, its parameters and the line it came on.


def echo(request_id, params, line):
    more = {"resultType": "complete"} if is_modern(params) else {}
    answer(request_id, text(line.decode(), **more))


def fixed(request_id, _params, _line):
    with open(path("result"), "rb") as handle:
        send(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request_id, handle.read()))


def perform(request_id, params, _line):
    append("effects", params["arguments"]["id"].encode())
    answer(request_id, text("did " + params["arguments"]["id"]))


def pay(request_id, params, _line):
    append("effects", json.dumps(params["arguments"]).encode())
    more = {"resultType": "complete"} if is_modern(params) else {}
    answer(request_id, text("paid", **more))


def crash(_request_id, _params, _line):
    os._exit(3)


def tell(params):
    # Says that the call has arrived, so that a test can go on.
    token = params.get("_meta", {}).get("progressToken")
    if token is not None:
        send_json({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 0}})


def hang(_request_id, params, _line):
    tell(params)


def slow(request_id, params, _line):
    def wait():
        # Opening a pipe to read waits for whoever opens it to write: the test says when.
        with open(path("gate"), "rb") as gate:
            gate.read()
        append("effects", params["arguments"]["id"].encode())
        answer(request_id, text("at last"))

    append("effects", b"began " + params["arguments"]["id"].encode())
    tell(params)
    threading.Thread(target=wait, daemon=True).start()


def babble(request_id, params, _line):
    kind = params["arguments"]["kind"]
    good = text("the answer")
    if kind == "garbage":
        for junk in (b"this is no message", b"[1,2", b"\xff\xfe{}", b"{}", b"[]", b"null", b"[" * 10000, b'{"jsonrpc":"1.0"}'):
            send(junk)
        answer(request_id, good)
    elif kind == "twice":
        answer(request_id, good)
        answer(request_id, text("a second answer"))
    elif kind == "others":
        for other in (request_id + 1, request_id - 1, 999999, 0, -1, 1.5, "x", None):
            answer(other, text("for somebody else"))
        answer(str(request_id), text("an id that is a string"))
        answer(request_id, good)
    elif kind == "asks":
        for nth, method in enumerate(("sampling/createMessage", "elicitation/create", "roots/list", "ping", "tools/call")):
            send_json({"jsonrpc": "2.0", "id": f"mine-{nth}", "method": method, "params": {}})
        answer(request_id, good)
    elif kind == "notifies":
        for method in ("notifications/message", "notifications/resources/updated", "notifications/prompts/list_changed",
                       "notifications/cancelled", "notifications/elicitation/complete", "notifications/x"):
            send_json({"jsonrpc": "2.0", "method": method, "params": {"data": "unasked"}})
        send_json({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": request_id, "progress": 1}})
        answer(request_id, good)
    elif kind == "long":
        send(b'{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"' + b"x" * 200000 + b'"}}')
        answer(request_id, good)
    elif kind == "long answer":
        answer(request_id, text("x" * 200000))
    elif kind == "both":
        send_json({"jsonrpc": "2.0", "id": request_id, "result": good, "error": {"code": 1, "message": "m"}})
    elif kind == "duplicate":
        send(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"content":[]}}' % request_id)
    elif kind == "no result":
        answer(request_id, {"content": "a text"})
    elif kind == "error":
        fail(request_id, -32099, "the server's own words")
    elif kind == "input":
        answer(request_id, {"resultType": "input_required", "inputRequests": {"a": {"method": "sampling/createMessage", "params": {}}}})
    elif kind == "failed":
        answer(request_id, text("it did not work", isError=True))


def progress(request_id, params, _line):
    token = params.get("_meta", {}).get("progressToken")
    for step in (1, 2):
        if token is not None:
            send_json({"jsonrpc": "2.0", "method": "notifications/progress",
                       "params": {"progressToken": token, "progress": step, "total": 2, "message": f"step {step}"}})
        send_json({"jsonrpc": "2.0", "method": "notifications/progress",
                   "params": {"progressToken": "of nobody", "progress": step}})
    answer(request_id, text("done"))


def environment(request_id, _params, _line):
    values = " ".join(value for name, value in os.environ.items() if "TOKEN" in name)
    sys.stderr.write(f"the tokens are {values}, said twice: {values}\n")
    sys.stderr.flush()
    digest = {name: len(value) for name, value in os.environ.items()}
    answer(request_id, text(json.dumps(digest)))


def announce(request_id, _params, _line):
    send_json({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    answer(request_id, text("told"))


TOOLS = {f.__name__: f for f in (echo, fixed, perform, pay, crash, hang, slow, babble, progress, environment, announce)}


def call(request_id, params, line):
    TOOLS[params["name"]](request_id, params, line)


METHODS = {
    "initialize": initialize,
    "server/discover": discover,
    "ping": lambda request_id, _params, _line: answer(request_id, {}),
    "tools/list": list_tools,
    "tools/call": call,
}


def main():
    # Held as long as this process lives: whoever wants to know that it has ended waits for it.
    alive = open(path("alive"), "a")
    fcntl.flock(alive, fcntl.LOCK_SH)
    log = open(path("lines"), "ab", buffering=0)
    for line in sys.stdin.buffer:
        line = line.rstrip(b"\n")
        log.write(line + b"\n")
        message = json.loads(line)
        if "method" in message and "id" in message:
            method = METHODS.get(message["method"])
            if method is None:
                fail(message["id"], -32601, "no such method")
            else:
                method(message["id"], message.get("params", {}), line)


main()
