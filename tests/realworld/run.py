"""Published packages that ship Alembic migrations, through the command line and the plugin.

``python tests/realworld/run.py [NAME ...]``. Each package is installed once into a virtual
environment of its own below ``$SNAPSHOT_TEST_REALWORLD`` (by default in the user's cache
folder), together with this repository's last commit. A folder in ``projects/`` is all that a user
would write, with the tests in ``suite.py`` beside it. It is copied, and what is written is seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = "[tool.alembic-snapshot]"
STORE = ".alembic-snapshot"
ORACLE = ROOT / "tests" / "oracles" / "real_alembic.py"
DRIFT = "drift: "
MARK = "<!-- {} the table, written by tests/realworld/run.py -->"

# What a stock env.py wants to find when Alembic is run by hand.
LOGGING = """
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
handlers =
"""


class Failed(Exception):
    """A project did not do what it should; the message says what."""


@dataclass(frozen=True)
class Package:
    """One published package, its environment, and the copy of its project that is worked on."""

    name: str
    cache: Path
    work: Path

    @property
    def source(self) -> Path:
        return HERE / "projects" / self.name

    @property
    def project(self) -> Path:
        return self.work / "project"

    @property
    def bin(self) -> Path:
        return self.cache / self.name / "venv" / "bin"

    @property
    def table(self) -> dict[str, Any]:
        """What the project has in ``[tool.alembic-snapshot]``."""
        toml = tomllib.loads((self.project / "pyproject.toml").read_text())
        return dict(toml["tool"]["alembic-snapshot"])

    @property
    def plugin(self) -> Path:
        """A pytest plugin that puts the package's own tests on clones, if there is one."""
        return self.project / "on_clones.py"

    def of(self, database: str) -> dict[str, Any]:
        """The table of one of the databases."""
        return self.table if database == "default" else self.table["databases"][database]

    @property
    def databases(self) -> list[str]:
        return ["default", *self.table.get("databases", {})]

    def install(self, wheel: Path) -> None:
        """The package's environment, made when its requirements change, and the library in it."""
        requirements = self.source / "requirements.txt"
        wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
        stamp = self.cache / self.name / "installed"
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(self.bin.parent, ignore_errors=True)
            _run(sys.executable, "-m", "venv", self.bin.parent)
            self._pip("-r", requirements, "pytest", wheel)
            stamp.write_text(wanted)
        self._pip("--no-deps", "--force-reinstall", wheel)

    def prepare(self) -> None:
        """A fresh copy of the project, an empty home and an empty folder for temporary files."""
        shutil.copytree(self.source, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        toml = self.project / "pyproject.toml"
        if not toml.is_file():
            toml.write_text(TABLE + "\n")
        (self.project / "suite.py").rename(self.project / "test_suite.py")
        shutil.copy(HERE / "clones.py", self.project / "test_clones.py")
        for folder in ("home", "tmp", "pytest", "measured"):
            (self.work / folder).mkdir()

    def run(
        self, *command: object, status: int | None = 0, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs in the project, ``given`` its standard input."""
        program, *arguments = command
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.work / "home"),
            "TMPDIR": str(self.work / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        found = [str(self.bin / str(program)), *map(str, arguments)]
        return _run(*found, cwd=self.project, env=environment, status=status, input=given)

    def snapshot(self, *arguments: str, status: int | None = 0) -> Any:
        return json.loads(self.run("alembic-snapshot", *arguments, "--json", status=status).stdout)

    def listing(self) -> dict[str, int]:
        """What is in every place where a migration might leave something, but the store."""
        packages = next(self.bin.parent.glob("lib/python*/site-packages"))
        places = [self.project, self.work / "home", self.work / "tmp", packages]
        return {
            str(path): path.stat().st_size
            for place in places
            for path in place.rglob("*")
            if path.is_file() and STORE not in path.parts and "__pycache__" not in path.parts
        }

    def _pip(self, *arguments: object) -> None:
        _run(self.bin / "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def examine(package: Package) -> dict[str, Any]:
    """Take one package through everything; the facts, or :class:`Failed`."""
    package.prepare()
    before = package.listing()
    for database in package.databases:
        chosen = ("--database", database)
        _claim(package.snapshot("build", "--quiet", *chosen)["built"], "nothing was built")
        _claim(not package.snapshot("build", *chosen)["built"], "the second call built again")
        package.run("alembic-snapshot", "status", *chosen)
    findings = {database: _findings(package, database) for database in package.databases}
    _claim(package.listing() == before, f"written: {_difference(before, package.listing())}")
    for database, found in findings.items():
        _compare_drift(package, database, found)

    measured = json.loads(
        package.run(
            "python", HERE / "measure.py", package.work / "measured", *package.databases
        ).stdout
    )
    for facts in measured.values():
        _claim(facts["hit"], "the second call in one process was not a hit")
        _claim(not facts["changed"], f"the caller has lost: {', '.join(facts['changed'])}")
    by_hand = {database: _by_hand(package, database) for database in package.databases}
    passed = _suite(package)
    return {
        "name": package.name,
        "requirement": (package.source / "requirements.txt").read_text().split()[0],
        "configuration": {name: _configuration(package, name) for name in package.databases},
        "databases": measured,
        "by hand": by_hand,
        "own tests": _own_tests(package) if package.plugin.is_file() else None,
        "findings": findings,
        "tests": passed,
    }


def _suite(package: Package) -> int:
    """Run the tests on clones; how many passed."""
    base = package.work / "pytest" / "run"
    done = package.run(
        "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={base}", package.project
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    clones = re.search(r"(\d+) clones?", done.stdout)
    _claim(passed and clones, f"pytest says:\n{done.stdout}")
    assert passed
    assert clones
    # A test has one clone of each database that it asks for.
    most = int(passed[1]) * len(package.databases)
    _claim(int(passed[1]) <= int(clones[1]) <= most, f"{clones[0]}, {passed[0]}: not one a test")
    left = [str(path) for path in base.rglob("*.db")] if base.exists() else []
    _claim(not left, f"passing tests left {left}")
    return int(passed[1])


def _own_tests(package: Package) -> dict[str, Any]:
    """The package's own tests, as published and then on clones: how long the second takes."""
    command = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "as_published",
               "--pyargs", f"{package.name}.tests")  # fmt: skip
    seconds, passed = [], []
    for number, more in enumerate([("-p", "no:alembic-snapshot"), ("-p", "on_clones")]):
        started = time.perf_counter()
        base = package.work / "pytest" / f"own{number}"
        done = package.run("python", "-m", *command, *more, f"--basetemp={base}", status=None)
        seconds.append(time.perf_counter() - started)
        found = re.search(r"(?:(\d+) failed, )?(\d+) passed", done.stdout)
        _claim(found, f"its own tests say:\n{done.stdout}\n{done.stderr}")
        assert found
        passed.append(found[0])
    _claim(passed[0] == passed[1], f"its own tests: {passed[0]}, and on clones {passed[1]}")
    return {"passed": passed[0], "ratio": seconds[1] / seconds[0]}


def _by_hand(package: Package, database: str, driver: str = "sqlite") -> float | None:
    """How long `alembic upgrade heads`, or the project's own function, takes without us."""
    migrate = package.of(database).get("migrate")
    target = package.work / "measured" / f"by_hand_{database}.db"
    url = f"{driver}:///{target}"
    if migrate:
        module, _, name = migrate.partition(":")
        given = f"import os; os.environ['DATABASE_URL'] = {url!r}"
        command = ["python", "-c", f"{given}; import {module}; {module}.{name}({url!r})"]
    else:
        ini = package.project / package.of(database).get("config", "alembic.ini")
        other = package.project / "by_hand.ini"
        other.write_text(f"{ini.read_text()}sqlalchemy.url = {url}\n{LOGGING}")
        command = ["alembic", "-c", str(other), "upgrade", "heads"]
    around = package.of(database).get("context")
    if around and not migrate:
        module, _, name = around.partition(":")
        inside = f"alembic.config.main({command[1:]!r})"
        command = ["python", "-c", f"import alembic.config, {module}\n"
                   f"with {module}.{name}:\n    {inside}"]  # fmt: skip
    started = time.perf_counter()
    done = package.run(*command, status=None)
    taken = time.perf_counter() - started
    (package.project / "by_hand.ini").unlink(missing_ok=True)
    if "requires an async driver" in done.stderr and driver == "sqlite":
        return _by_hand(package, database, "sqlite+aiosqlite")
    return taken if done.returncode == 0 and target.exists() else None


def _findings(package: Package, database: str) -> dict[str, Any]:
    """What `check` finds: revisions that don't go down and up cleanly, drift, anything else, and
    what it could not check, and why.
    """
    facts = package.snapshot("check", "--quiet", "--database", database, status=None)
    found = facts["findings"]
    steps = [match[0] for line in found if (match := re.match(r"revision \S+: ", line))]
    drift = [line.removeprefix(DRIFT) for line in found if line.startswith(DRIFT)]
    others = [line for line in found if not line.startswith((DRIFT, *steps))]
    return {
        "tried": facts["stairway"],
        "stairway": len(set(steps)),
        "drift": drift,
        "others": others,
        "unchecked": facts["unchecked"],
    }


def _compare_drift(package: Package, database: str, found: dict[str, Any]) -> None:
    """That the drift is what Alembic itself finds in the snapshot; or neither can compare."""
    snapshot = Path(package.snapshot("build", "--database", database)["path"])
    copy = package.work / f"checked_{database}.db"
    shutil.copyfile(snapshot, copy)
    ini = package.project / package.of(database).get("config", "alembic.ini")
    other = package.work / f"checked_{database}.ini"
    # Its %(here)s is the project's.
    text = ini.read_text().replace("%(here)s", str(package.project))
    other.write_text(f"{text}{LOGGING}")
    around = package.of(database).get("context")
    arguments = [ORACLE, package.project, other, *([around] if around else [])]
    done = package.run("python", *arguments, given=json.dumps([str(copy), ["check"]]) + "\n")
    real = json.loads(done.stdout.splitlines()[-1])
    why = found["unchecked"].get("drift")
    if "error" in real:
        # In the application's context env.py may ask the application where its database is.
        _claim(
            why or around,
            f"`alembic check` fails with {real['error']}, and here drift counts as checked",
        )
        return
    _claim(not why or not real["found"], f"`alembic check` finds {real['found']}, but here: {why}")
    ours = sorted(line.partition(": ")[0] for line in found["drift"])
    _claim(ours == real["found"], f"drift {ours}, and for `alembic check` {real['found']}")


def _configuration(package: Package, database: str) -> list[str]:
    """What the user has to write, beside where the scripts are."""
    table = {key: value for key, value in package.of(database).items() if key != "databases"}
    own = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    ini = (package.project / table.get("config", "alembic.ini")).read_text().splitlines()
    extra = [line for line in ini if " = " in line and not line.startswith("script_location")]
    return [*extra, *own]


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table; ratios, since times are the machine's."""
    lines = [
        "| package | revisions | tables | build | hit | clone | configuration | stairway | drift |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    for facts in results:
        for database, measured in facts["databases"].items():
            lines.append(_row(facts, database, measured))
    lines += [
        f"\n{facts['name']}'s own tests, unchanged, on clones: {facts['own tests']['passed']}, as "
        f"without them, in {facts['own tests']['ratio']:.2f} of the time."
        for facts in results
        if facts["own tests"]
    ]
    return "\n".join(lines)


def _row(facts: dict[str, Any], database: str, measured: dict[str, Any]) -> str:
    seconds, by_hand = measured["seconds"], facts["by hand"][database]
    others = "" if database == "default" else f", `{database}`"
    name = facts["requirement"].replace("==", " ") + others
    build = f"{seconds['build'] / by_hand:.1f}" if by_hand else "?"
    hit, clone = (_per(seconds["build"], seconds[what]) for what in ("hit", "clone"))
    lines = facts["configuration"][database]
    found = facts["findings"][database]
    steps = f"{found['stairway']} of them" if found["tried"] else "not tried"
    configuration = "<br>".join(f"`{line}`" for line in lines) or "none"
    cells = [
        name, measured["revisions"] or "one layer", measured["tables"], build, hit, clone,
        configuration, steps, _drift(found),
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _drift(found: dict[str, Any]) -> str:
    why = found["unchecked"].get("drift")
    return "not checked" if why else str(len(found["drift"]))


def _per(whole: float, part: float) -> str:
    """How often ``part`` goes into ``whole``, to two digits."""
    ratio = whole / part
    digits = len(str(int(ratio))) - 2
    return f"1/{round(ratio, -digits):.0f}"


def _told(facts: dict[str, Any]) -> str:
    own = facts["own tests"]
    more = f"; its own {own['passed']}, in {own['ratio']:.2f} of the time" if own else ""
    others = [
        line
        for found in facts["findings"].values()
        for line in (*found["others"], *found["drift"],
                     *(f"{kind} not checked: {why}" for kind, why in found["unchecked"].items()))
    ]  # fmt: skip
    lines = [f"{facts['name']}: {facts['tests']} tests on clones passed{more}", *others[:5]]
    return "\n  ".join(lines)


def _claim(holds: object, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def _difference(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _run(
    *command: object, status: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    if status is not None and done.returncode != status:
        shown = " ".join(map(str, command))
        raise Failed(f"{shown}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def _wheel(folder: Path) -> Path:
    """The library as it was committed last, as a wheel."""
    _run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), folder / "checkout")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder,
         folder / "checkout")  # fmt: skip
    return next(folder.glob("*.whl"))


def _write(page: Path, text: str) -> None:
    begin, end = MARK.format("begin of"), MARK.format("end of")
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def _cache() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SNAPSHOT_TEST_REALWORLD") or caches / "alembic-snapshot-realworld")


def main() -> int:
    known = sorted(folder.name for folder in (HERE / "projects").iterdir())
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--markdown", metavar="PAGE", type=Path, help="write the table into PAGE")
    options = parser.parse_args()
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no such project: {', '.join(sorted(unknown))}")
    results, failed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(Path(folder))
        for name in options.names or known:
            package = Package(name, _cache(), Path(folder) / name)
            try:
                package.install(wheel)
                results.append(examine(package))
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            else:
                print(_told(results[-1]), flush=True)
    text = table(results)
    if options.markdown:
        _write(options.markdown, text)
    else:
        print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
