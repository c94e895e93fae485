"""What the broker and the cluster need beyond Python: Java, Maven, the jars, and the operator built from this copy.

Each set of jars has a stamp, the hash of what it was made from, written last: with it in place a start does nothing, and a fetch
that was cut short is done anew. Jars are moved into place whole, so that a running JVM keeps the file that it has opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import UserError
from cli.paths import JARS, LOGS, OPERATOR, STATE, shown
from cli.processes import Process, tail, wait_until
from cli.progress import step

MINIMUM_JAVA = 17
MAVEN_PROJECT = Path(__file__).resolve().parent / "maven"
OPERATOR_JAR = "segue-operator.jar"
STAMP = ".stamp"
# Beyond this a fetch or a build is taken to hang, in seconds.
MAVEN_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True)
class Jars:
    """A set of jars: what it is to a person, where it lies, and what it is made from."""

    what: str
    folder: Path
    sources: tuple[Path, ...]

    def stamp(self) -> str:
        """The hash of what it is made from: names and contents."""
        return hash_of(self.sources)

    def ready(self) -> bool:
        """Whether it is there, whole, and made from what is there now."""
        try:
            return (self.folder / STAMP).read_text("utf-8").strip() == self.stamp()
        except OSError:
            return False


def fetched_jars(jars: Path = JARS) -> tuple[Jars, ...]:
    """What Maven fetches."""
    parent = MAVEN_PROJECT / "pom.xml"
    return (
        Jars("the Kafka broker", jars / "broker", (parent, MAVEN_PROJECT / "broker" / "pom.xml")),
        Jars("Flink's Kafka connector", jars / "connector", (parent, MAVEN_PROJECT / "connector" / "pom.xml")),
    )


def operator_jars(jars: Path = JARS) -> Jars:
    """What Maven builds."""
    return Jars("the operator", jars / "job", (OPERATOR / "pom.xml", OPERATOR / "src" / "main"))


def hash_of(sources: Iterable[Path]) -> str:
    """The hash of files, and of all files in folders, by name and content; a source that is missing counts as such."""
    digest = hashlib.sha256()
    for source in sources:
        files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        for file in files:
            name = file.relative_to(source.parent).as_posix()
            content = file.read_bytes() if file.exists() else b""
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def ensure(*, quiet: bool = False) -> None:
    """Have Java, the jars and the operator ready; when they are, this takes milliseconds and starts nothing."""
    java()
    if ready():
        return
    with locked(STATE / "toolchain.lock"):
        missing = [jars for jars in fetched_jars() if not jars.ready()]
        if missing:
            fetch(missing, quiet=quiet)
        if not operator_jars().ready():
            build_operator(quiet=quiet)


def ready() -> bool:
    """Whether all jars are there and in step with this copy."""
    return all(jars.ready() for jars in (*fetched_jars(), operator_jars()))


def fetch(missing: Sequence[Jars], *, quiet: bool = False) -> None:
    """Fetch sets of jars with Maven, one run for all, into a folder aside; then move each into place."""
    aside = JARS / ".new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    maven(
        "fetching " + " and ".join(jars.what for jars in missing),
        MAVEN_PROJECT / "pom.xml",
        # Checksums that do not fit are an error, not a warning.
        ["--strict-checksums", f"-Dsegue.jars={aside}", "process-resources"],
        LOGS / "fetch-jars.log",
        quiet=quiet,
    )
    for jars in missing:
        new = aside / jars.folder.name
        if not any(new.glob("*.jar")):
            raise UserError(f"Maven has not brought {jars.what}", f"see {shown(LOGS / 'fetch-jars.log')}")
        place(new, jars)
    shutil.rmtree(aside, ignore_errors=True)


def build_operator(*, quiet: bool = False) -> None:
    """Build the operator from this copy, without its tests, and put the jar where the cluster takes it from."""
    jars = operator_jars()
    if not (OPERATOR / "pom.xml").exists():
        raise UserError(f"{shown(OPERATOR)} is missing", "this copy of the project is not whole: clone it again")
    aside = JARS / ".new-operator"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    stamp = jars.stamp()
    maven(
        "building the operator",
        OPERATOR / "pom.xml",
        ["-DskipTests", "package"],
        LOGS / "build-operator.log",
        quiet=quiet,
    )
    shutil.copyfile(OPERATOR / "target" / OPERATOR_JAR, aside / OPERATOR_JAR)
    if jars.stamp() != stamp:
        raise UserError("the operator's sources changed while it was built", "start again")
    place(aside, jars)


def place(new: Path, jars: Jars) -> None:
    """Move a folder of jars to where it belongs, and write the stamp last."""
    if jars.folder.exists():
        shutil.rmtree(jars.folder)
    new.replace(jars.folder)
    (jars.folder / STAMP).write_text(jars.stamp() + "\n", "utf-8")


def maven(what: str, pom: Path, words: Sequence[str], log: Path, *, quiet: bool = False) -> None:
    """Run Maven with its output in a log, showing that it goes on; a failure shows the last lines that matter."""
    program = maven_program()
    command: list[str | Path] = [
        program,
        "--batch-mode",
        "--no-transfer-progress",
        "-Dstyle.color=never",
        "-f",
        pom,
        *words,
    ]
    with step(what, quiet=quiet):
        process = Process.start("Maven", command, log=log, env=java_environment())
        try:
            wait_until(lambda: not process.alive(), MAVEN_TIMEOUT, what)
        finally:
            process.stop(grace=5.0)
    if process.exit_code() != 0:
        errors = [line for line in tail(log, 400).splitlines() if line.startswith("[ERROR]")]
        last = "\n".join(errors[:8]) or tail(log, 15)
        offline = re.search(
            r"Unknown host|Connection refused|Network is unreachable|Could not transfer", tail(log, 400)
        )
        why = ", for Maven Central could not be reached" if offline else ""
        raise UserError(f"{what} failed{why}", f"{last}\nThe whole of it is in {shown(log)}.")


def java() -> Path:
    """A Java of a version that Flink and Kafka run on; installed by apt-get where that may be done."""
    found, version = find_java()
    if found is not None and version >= MINIMUM_JAVA:
        return found
    install(
        "openjdk-17-jdk-headless",
        "maven",
        why=f"Java {MINIMUM_JAVA} or newer" + (f" (found: {version})" if found else ""),
    )
    found, version = find_java()
    if found is None or version < MINIMUM_JAVA:
        raise UserError(f"Java {MINIMUM_JAVA} or newer is needed", "set JAVA_HOME to one")
    return found


_versions: dict[Path, int] = {}


def find_java() -> tuple[Path | None, int]:
    """Java as Flink's own scripts would find it (JAVA_HOME, then the path), and its major version; (None, 0) if there is none."""
    home = os.environ.get("JAVA_HOME")
    named = [Path(home) / "bin" / "java"] if home else []
    found = shutil.which("java")
    best: tuple[Path | None, int] = (None, 0)
    for path in [*named, *([Path(found)] if found else []), *sorted(Path("/usr/lib/jvm").glob("*/bin/java"))]:
        if not path.exists():
            continue
        version = java_version(path)
        if version >= MINIMUM_JAVA:
            return path, version
        if version > best[1]:
            best = (path, version)
    return best


def java_version(path: Path) -> int:
    """The major version of a Java; 0 if it does not say. Read from the file beside it where there is one: to ask takes a JVM."""
    path = path.resolve()
    if path not in _versions:
        release = path.parent.parent / "release"
        text = release.read_text("utf-8", "replace") if release.exists() else ""
        match = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
        if match is None:
            try:
                done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
                match = re.search(r'version "(\d+)', done.stderr)
            except (OSError, subprocess.TimeoutExpired):
                match = None
        _versions[path] = int(match.group(1)) if match else 0
    return _versions[path]


def java_home() -> Path:
    """The folder of the Java in use."""
    return java().resolve().parent.parent


def java_environment() -> dict[str, str]:
    """This process's environment with the Java in use named in it."""
    return {**os.environ, "JAVA_HOME": str(java_home())}


def has_compiler() -> bool:
    """Whether the Java in use can compile: Debian has a package that only runs."""
    return (java_home() / "bin" / "javac").exists()


def maven_program() -> Path:
    """Maven; installed by apt-get where that may be done, and with it a Java that compiles."""
    if not has_compiler():
        install("openjdk-17-jdk-headless", why="a Java that compiles (a JDK)")
    found = shutil.which("mvn")
    if found is None:
        install("maven", why="Maven")
        found = shutil.which("mvn")
    if found is None:
        raise UserError("Maven is needed", "install it and have `mvn` on the path")
    return Path(found)


def install(*packages: str, why: str) -> None:
    """Install packages of the system, or say in one sentence what to install."""
    names = " ".join(packages)
    ask = f"install it and start again (Debian, Ubuntu: `apt-get install {names}` as root)"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise UserError(f"{why} is needed", ask)
    log = LOGS / "apt-get.log"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for what, words in (
        ("reading the package lists of the system", ["update", "-q"]),
        (f"installing {names} with apt-get", ["install", "-y", "-q", "--no-install-recommends", *packages]),
    ):
        with step(what):
            process = Process.start("apt-get", ["apt-get", *words], log=log, env=env)
            wait_until(lambda p=process: not p.alive(), MAVEN_TIMEOUT, what)  # type: ignore[misc]
        if process.exit_code() != 0:
            raise UserError(f"{why} is needed and {what} failed: {tail(log, 1)}", ask)
    _versions.clear()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two starts do not do the same work at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with step("waiting for another start to finish"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
