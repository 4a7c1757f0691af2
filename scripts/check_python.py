"""Say at once if this Python is older than pyproject.toml asks for. It runs on those, too."""

import os
import re
import sys

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "pyproject.toml"), encoding="utf-8") as settings:
    (needed,) = re.findall('requires-python = ">=([0-9.]+)"', settings.read())

if sys.version_info[:2] < tuple(int(part) for part in needed.split(".")):
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.stderr.write(
        f"error: {sys.executable} is Python {found}, and {needed} or later is needed\n"
        f"hint: name one, as in: make PYTHON=python{needed} test-db\n"
    )
    if os.path.dirname(os.path.dirname(sys.executable)) == os.path.join(root, ".venv"):
        sys.stderr.write("hint: .venv was made with it: make clean removes it\n")
    sys.exit(2)
