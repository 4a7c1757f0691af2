"""Code that runs in files of any name: whose a frame is, is told by that."""

from __future__ import annotations


def inside(files, ask):
    """The answer from within functions of these files, the outermost first; a star says that a
    file is being imported.
    """
    for file in reversed(list(map(str, files))):
        ask = _importing(file[:-1], ask) if file.endswith("*") else within(file, ask)
    return ask()


def within(file, ask, module="code"):
    """The same as a function of this file, in a module of this name."""
    scope = {"ask": ask, "__name__": module}
    exec(compile("def run():\n    return ask()\n", file, "exec"), scope)
    return scope["run"]


def _importing(file, ask):
    scope = {"ask": ask}
    module = compile("answer = ask()", file, "exec")
    return lambda: exec(module, scope) or scope["answer"]
