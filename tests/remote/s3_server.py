"""An S3 server on loopback, until its standard input is closed; prints its port."""

import logging
import sys
import threading
import urllib.request

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto = DomainDispatcherApplication(create_backend_app)
writing = threading.Lock()


def one_write_at_a_time(environ, start_response):
    """S3 looks at a condition and writes in one step; moto in two, between which others write."""
    if environ["REQUEST_METHOD"] != "PUT":
        return moto(environ, start_response)
    with writing:
        return moto(environ, start_response)


server = make_server(
    "127.0.0.1", 0, one_write_at_a_time, threaded=True, request_handler=MotoRequestHandler
)
thread = threading.Thread(target=server.serve_forever, daemon=True)
thread.start()
port = server.server_address[1]
bucket = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
urllib.request.urlopen(bucket).close()
print(port, flush=True)
sys.stdin.read()
server.shutdown()
thread.join()
