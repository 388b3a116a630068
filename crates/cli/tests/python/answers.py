"""A tool server that lists what a file says and answers each call with the next result of another file.

Arguments: a file with the answer to `tools/list`; a file with the next result of `tools/call`, read anew each time.
"""

import json
import sys

TOOLS, ANSWER = sys.argv[1], sys.argv[2]


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    method, answer = request["method"], {"id": request["id"]}
    if method == "initialize":
        version = request["params"]["protocolVersion"]
        answer["result"] = {
            "protocolVersion": version,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "answers", "version": "1"},
        }
    elif method == "tools/list":
        with open(TOOLS, encoding="utf-8") as file:
            answer["result"] = {"tools": json.load(file)["tools"]}
    elif method == "tools/call":
        with open(ANSWER, encoding="utf-8") as file:
            answer["result"] = json.load(file)
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    send(answer)
