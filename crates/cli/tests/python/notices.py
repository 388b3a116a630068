"""A receiver of notices: checks the signature of each as the Standard Webhooks specification says, and tells it in a line. It takes none at the first try.

Argument: the secret. The first line on standard output is the port.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
seen = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name, sent_at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = f"{name}.{sent_at}.".encode() + body
        signature = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        fits = hmac.compare_digest(signature, self.headers["webhook-signature"])
        is_recent = abs(time.time() - int(sent_at)) < 60
        first = name not in seen
        seen.add(name)
        self.send_response(503 if first else 204)
        self.end_headers()
        if not first:
            print(json.dumps({"id": name, "ok": fits and is_recent, "said": json.loads(body)}), flush=True)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
