"""The template's program: ``FOLDER SOCKET OWNER``. It is run with ``-c``, so that it has no file.

Its frames are below those of all that its children run.
"""

# ruff: noqa: E402
import sys

bare = list(sys.modules)

import os

sys.path.insert(0, os.path.dirname(sys.argv[1]))
from starts.warm import Warm

warm = Warm(bare)


def gather():
    from starts import template

    sys.path.pop(0)
    template.imported(os.path.dirname(sys.argv[2]))
    return template


job = warm.gather(gather).begin(warm, sys.argv[2], int(sys.argv[3]))
if job is not None:
    main = type(sys)("__main__")
    main.__builtins__ = sys.modules["builtins"]
    main.__loader__ = sys.modules["_frozen_importlib"].BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    if job["module"]:
        import runpy

        runpy._run_module_as_main(job["module"])
    else:
        exec(compile(job["code"], "<string>", "exec"), vars(main))
