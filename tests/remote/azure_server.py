"""An Azure Blob server on loopback, until its standard input is closed; prints its address.

Its arguments are the program `azurite-blob`, an account, and that account's key.
"""

import base64
import hashlib
import hmac
import os
import subprocess
import sys
import urllib.request
from email.utils import formatdate

program, account, key = sys.argv[1:]
options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--silent"]
server = subprocess.Popen(
    [program, *options, "--skipApiVersionCheck", "--disableTelemetry"],
    env={**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    text=True,
)
try:
    address = next(line.split()[-1] for line in server.stdout if "listens on http://" in line)
    # A container is made by a signed request: obstore makes none.
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    signed = "PUT" + "\n" * 12 + f"{signed}/{account}/{account}/bucket\nrestype:container"
    digest = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    bucket = urllib.request.Request(
        f"{address}/{account}/bucket?restype=container",
        method="PUT",
        headers={**headers, "Content-Length": "0"},
    )
    urllib.request.urlopen(bucket).close()
    print(f"{address}/{account}", flush=True)
    sys.stdin.read()
finally:
    server.terminate()
    server.wait()
