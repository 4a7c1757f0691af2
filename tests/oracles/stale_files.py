"""Files, what is said of them, links and listings that values come from."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import Any

from .stale_sources import THREAD, Source, presence, size


def _zipped(text: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(zipfile.ZipInfo("data.txt"), text)
        archive.writestr(zipfile.ZipInfo("zipped.py"), f"VALUE = {text!r}\n")
    return whole.getvalue()


def _gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


_NAMED = 'NAMED_$n = "$raw"'


def _file(name: str, code: str, content: str = "$value", **more: Any) -> Source:
    return Source(f"file {name}", code, {"$raw": content}, named=_NAMED, **more)


_OPEN = "with open($path) as file: value = file.read()"
FILES = [
    _file("open", _OPEN),
    _file("r+b", "with open($path, 'r+b') as file: value = file.read().decode()"),
    _file("rb", "with open($path, 'rb', buffering=0) as file: value = file.read().decode()"),
    _file("read_text", "from pathlib import Path\nvalue = Path($path).read_text()"),
    _file("bytes path", "with open(os.fsencode($path)) as file: value = file.read()"),
    _file("codecs", "import codecs\nwith codecs.open($path, 'r') as file: value = file.read()"),
    _file("opener", "with open($path, opener=os.open) as file: value = file.read()"),
    _file("FileIO", "import io\nwith io.FileIO($path) as file: value = file.read().decode()"),
    _file("os.open", "handle = os.open($path, os.O_RDONLY)\nvalue = os.read(handle, 99).decode()"),
    _file("O_RDWR", "handle = os.open($path, os.O_RDWR)\nvalue = os.read(handle, 99).decode()"),
    _file(
        "mmap",
        """
        import mmap
        with open($path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            value = bytes(mapped).decode()
        """,
    ),
    _file(
        "dir_fd",
        """
        handle = os.open($folder, os.O_RDONLY)
        value = os.read(os.open("$file", os.O_RDONLY, dir_fd=handle), 99).decode()
        """,
    ),
    _file(
        "chdir",
        """
        before = os.getcwd()
        os.chdir($folder)
        try:
            with open("$file") as file:
                value = file.read()
        finally:
            os.chdir(before)
        """,
    ),
    _file(
        "tokenize",
        "import tokenize\nscope = {}\nexec(tokenize.open($path).read(), scope)\nvalue = scope['V']",
        "V = '$value'\n",
    ),
    _file(
        "exec",
        "scope = {}\nexec(compile(open($path).read(), 'x', 'exec'), scope)\nvalue = scope['V']",
        "V = '$value'\n",
    ),
    _file("runpy", "import runpy\nvalue = runpy.run_path($path)['VALUE']", "VALUE = '$value'\n"),
    _file(
        "touched first",
        "from pathlib import Path\nif os.path.exists($path): Path($path).touch()\n"
        "value = Path($path).read_text()",
    ),
    _file(
        "written back",
        "with open($path) as file: value = file.read()\n"
        "with open($path, 'w') as file: file.write(value)",
    ),
    _file("linecache", "import linecache\nvalue = linecache.getline($path, 1).strip() or 'absent'"),
    _file("fileinput", "import fileinput\nvalue = ''.join(fileinput.input([$path]))"),
    _file(
        "configparser",
        """
        import configparser
        parser = configparser.ConfigParser()
        parser.read([$path])
        value = parser["own"]["value"]
        """,
        "[own]\nvalue = $value\n",
    ),
    _file("json", "import json\nvalue = json.load(open($path))['a']", '{"a": "$value"}'),
    _file("toml", "import tomllib\nvalue = tomllib.load(open($path, 'rb'))['a']", 'a = "$value"'),
    _file("csv", "import csv\nvalue = list(csv.reader(open($path)))[0][1]", "a,$value"),
    _file(
        "xml",
        "import xml.etree.ElementTree as tree\nvalue = tree.parse($path).getroot().text",
        "<a>$value</a>",
    ),
    _file("gzip", "import gzip\nvalue = gzip.open($path).read().decode()", packed=_gzipped),
    _file(
        "zipfile",
        "import zipfile\nvalue = zipfile.ZipFile($path).read('data.txt').decode()",
        packed=_zipped,
    ),
    _file(
        "zipimport",
        """
        import importlib.util, zipimport
        spec = zipimport.zipimporter($path).find_spec("zipped")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        value = module.VALUE
        """,
        packed=_zipped,
    ),
    _file(
        "copyfile",
        """
        import shutil, tempfile
        with tempfile.TemporaryDirectory() as folder:
            value = open(shutil.copyfile($path, folder + "/copy")).read()
        """,
    ),
    _file("thread", THREAD.format("Path($path).read_text()")),
    _file(
        "executor",
        """
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        with ThreadPoolExecutor() as pool:
            value = list(pool.map(Path.read_text, [Path($path)]))[0]
        """,
    ),
    _file(
        "to_thread",
        """
        import asyncio
        from pathlib import Path
        value = asyncio.run(asyncio.to_thread(Path($path).read_text))
        """,
    ),
    Source(
        "file through a link",
        "with open(os.path.join($folder, 'link')) as file: value = file.read()",
        {"$raw": "$value"},
        {"$place/link": "$file"},
        named=_NAMED,
    ),
    Source(
        "file pkgutil.get_data",
        "import pkgutil\nvalue = pkgutil.get_data('pack$n', 'data.txt').decode()",
        {"pack$n/__init__.py": "", "pack$n/data.txt": "$value"},
        named='NAMED_$n = "pack$n/data.txt"',
    ),
    Source(
        "file importlib.resources",
        """
        from importlib import resources
        value = (resources.files("pack" + "$n") / "data.txt").read_text()
        """,
        {"pack$n/__init__.py": "", "pack$n/data.txt": "$value"},
        named='NAMED_$n = "pack$n/data.txt"',
    ),
]

STATS = [
    _file(name, code, shows=size)
    for name, code in (
        ("os.stat size", "value = str(os.stat($path).st_size)"),
        ("getsize", "value = str(os.path.getsize($path))"),
        ("Path.stat size", "from pathlib import Path\nvalue = str(Path($path).stat().st_size)"),
        ("lstat size", "value = str(os.lstat($path).st_size)"),
        ("size from a thread", THREAD.format("str(Path($path).stat().st_size)")),
    )
]
EXISTS = [
    _file(name, f"value = str({code})", shows=presence)
    for name, code in (
        ("exists", "os.path.exists($path)"),
        ("Path.exists", "__import__('pathlib').Path($path).exists()"),
        ("isfile", "os.path.isfile($path)"),
        ("access", "os.access($path, os.F_OK)"),
        ("glob of a name", "bool(__import__('glob').glob($path))"),
    )
]
LINKS = [
    Source(f"link {name}", code, {}, {"$raw": "$value.txt"}, named=_NAMED)
    for name, code in (
        ("os.readlink", "value = os.readlink($path)[:-4]"),
        ("Path.readlink", "from pathlib import Path\nvalue = Path($path).readlink().stem"),
        (
            "realpath",
            "value = os.path.basename(os.path.realpath($path))[:-4]\n"
            "if not os.path.lexists($path): value = 'absent'",
        ),
        (
            "resolve",
            "from pathlib import Path\nvalue = Path($path).resolve().stem\n"
            "if not os.path.lexists($path): value = 'absent'",
        ),
    )
]


def _listing(name: str, names: str, **more: Any) -> Source:
    """``names`` is an expression for the names in the folder."""
    code = f"{names}\nvalue = ''.join(n[:-4] for n in names if n.endswith('.txt')) or 'absent'"
    files = {"$place/$value.txt": ""}
    return Source(f"listing {name}", code, files, **more)


LISTINGS = [
    _listing("listdir", "names = os.listdir($folder)"),
    _listing("listdir of bytes", "names = map(os.fsdecode, os.listdir(os.fsencode($folder)))"),
    _listing("listdir of a handle", "names = os.listdir(os.open($folder, os.O_RDONLY))"),
    _listing("made first", "os.makedirs($folder, exist_ok=True)\nnames = os.listdir($folder)"),
    _listing("scandir", "names = [entry.name for entry in os.scandir($folder)]"),
    _listing("walk", "names = [name for _, _, found in os.walk($folder) for name in found]"),
    _listing("fwalk", "names = [name for _, _, found, _ in os.fwalk($folder) for name in found]"),
    _listing(
        "iterdir", "from pathlib import Path\nnames = [p.name for p in Path($folder).iterdir()]"
    ),
    _listing(
        "Path.glob",
        "from pathlib import Path\nnames = [p.name for p in Path($folder).glob('*.txt')]",
    ),
    _listing(
        "rglob", "from pathlib import Path\nnames = [p.name for p in Path($folder).rglob('*.txt')]"
    ),
    _listing(
        "glob",
        "import glob\nnames = map(os.path.basename, glob.glob(os.path.join($folder, '*.txt')))",
    ),
    _listing("glob root_dir", "import glob\nnames = glob.glob('*.txt', root_dir=$folder)"),
    _listing(
        "thread",
        THREAD.replace("value =", "names =").format("os.listdir($folder)"),
    ),
    Source(
        "listing walk of sub-folders",
        """
        names = [os.path.basename(folder) for folder, _, _ in os.walk($folder)]
        value = "".join(name[:-4] for name in names if name.endswith("_sub")) or "absent"
        """,
        {"$place/${value}_sub/x": ""},
    ),
    Source(
        "listing pkgutil",
        """
        import pkgutil
        value = "".join(module.name for module in pkgutil.iter_modules([$folder])) or "absent"
        """,
        {"$place/$value.py": ""},
    ),
]
