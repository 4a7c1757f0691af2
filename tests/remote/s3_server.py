"""An S3 server on loopback, until its standard input is closed; prints its port."""

import logging
import sys
import urllib.request

from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
bucket = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
urllib.request.urlopen(bucket).close()
print(port, flush=True)
sys.stdin.read()
server.stop()
