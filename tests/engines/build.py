"""Build the real inference engines that the tests run against, from source packages of PyPI.

    python tests/engines/build.py llama-server        llama.cpp's own server, one static binary
    python tests/engines/build.py llama-cpp-python    the Python package with its server, in a venv of its own
    python tests/engines/build.py all                 both

llama.cpp is compiled once: its static libraries make the binary, and the same libraries, linked as a shared
one, go into the wheel of llama-cpp-python. Finished parts lie in `.cache` (or $HARNESS_CACHE) under a hash of
their recipe; what is there is not built again.

Needs Linux, Python 3.11, a C++ compiler and PyPI; cmake and ninja are taken from PyPI where the machine has none.
Exit codes: 0 done; 1 a step failed, its log is named; 3 nothing can be built on this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

PACKAGE = "llama_cpp_python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
CACHE = Path(os.environ.get("HARNESS_CACHE") or Path(__file__).resolve().parents[2] / ".cache").absolute()
ENGINES = CACHE / "engines"

# Portable code (no -march=native: the cache may travel), one process, no network at build or run time.
FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_POSITION_INDEPENDENT_CODE": "ON",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
LIBRARIES = ("src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a")


class BuildError(Exception):
    """A step failed. The message says which, and where its output is."""


def say(text: str) -> None:
    print(f"engines: {text}", flush=True)


def step(what: str, command: Sequence[object], log: Path, *, cwd: Path | None = None) -> None:
    """Run one command, its output to `log`, and say how long it took.

    Raises:
        BuildError: it failed; the last lines of its output have been printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with log.open("ab") as file:
        code = subprocess.call([*map(str, command)], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd)
    if code:
        print(*log.read_text(errors="replace").splitlines()[-30:], sep="\n", file=sys.stderr)
        raise BuildError(f"{what}: failed with code {code}; its output is in {log}")
    say(f"{what}: {time.monotonic() - begin:.0f} s")


def pip(python: Path, *arguments: object) -> list[object]:
    return [python, "-m", "pip", "--disable-pip-version-check", *arguments]


def compiler() -> str | None:
    """The C++ compiler, as cmake would find it."""
    return shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")


class Build:
    """One recipe: the source, the flags, the level of optimisation. `key` is its hash."""

    def __init__(self, level: str, jobs: int) -> None:
        self.flags = FLAGS | {f"CMAKE_{language}_FLAGS_RELEASE": f"-O{level}" for language in ("C", "CXX")}
        recipe = repr((SHA256, sorted(self.flags.items()), platform.machine(), sys.platform))
        self.key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        self.jobs = jobs
        self.binary = ENGINES / f"llama-server-{VERSION}-{self.key}"
        self.libraries = ENGINES / f"libllama-{VERSION}-{self.key}"
        self.work = ENGINES / f"build-{self.key}"
        self.log = ENGINES / f"build-{self.key}.log"

    def llama_server(self) -> Path:
        """The binary; `llama-server` beside it always links to the newest one."""
        if not (self.binary.is_file() and self.libraries.is_dir()):
            self._compile()
        _link(self.binary)
        return self.binary

    def llama_cpp_python(self) -> Path:
        """The Python of a venv in which `llama_cpp.server` can be run."""
        folder = ENGINES / "llamacpp-venv"
        python, ready = folder / "bin" / "python", folder / "ready"
        state = f"{self.key} Python {platform.python_version()} in {folder}"  # a venv cannot be moved
        if not (ready.is_file() and ready.read_text() == state):
            wheel = self._wheel()
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            step(f"install {wheel.name} and its server", pip(python, "install", f"{wheel}[server]"), self.log)
            step("import llama_cpp", [python, "-c", "import llama_cpp"], self.log)
            ready.write_text(state)
        return python

    def clean(self) -> None:
        """Drop what only the building needed."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    @cached_property
    def source(self) -> Path:
        """The unpacked source package."""
        folder = self.work / f"{PACKAGE}-{VERSION}"
        if not folder.is_dir():
            archive = CACHE / "wheels" / f"{folder.name}.tar.gz"
            if not archive.is_file():
                wanted = f"{PACKAGE}=={VERSION}"
                no_wheel = ("--no-deps", "--no-binary", PACKAGE, "--dest", archive.parent)
                step(f"fetch {wanted}", pip(Path(sys.executable), "download", *no_wheel, wanted), self.log)
            if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
                archive.unlink()
                raise BuildError(f"{archive.name}: not the file this recipe is for (SHA-256 differs)")
            with tarfile.open(archive) as packed:
                packed.extractall(self.work / "unpacking", filter="data")
            (self.work / "unpacking" / folder.name).rename(folder)
        return folder

    @cached_property
    def tools(self) -> Path | None:
        """A folder with cmake and ninja, where the machine has none of its own."""
        if shutil.which("cmake") and shutil.which("ninja"):
            return None
        folder = ENGINES / "tools-venv"
        if not (folder / "bin" / "ninja").exists():
            venv.create(folder, with_pip=True)
            install = pip(folder / "bin" / "python", "install", "cmake", "ninja")
            step("install cmake and ninja", install, self.log)
        return folder / "bin"

    def _tool(self, name: str) -> Path:
        return Path(name) if self.tools is None else self.tools / name

    def _compile(self) -> None:
        out = self.work / "cmake"
        options = [f"-D{name}={value}" for name, value in self.flags.items()]
        make_program = [] if self.tools is None else [f"-DCMAKE_MAKE_PROGRAM={self.tools / 'ninja'}"]
        tree = ["-S", self.source / "vendor" / "llama.cpp", "-B", out, "-G", "Ninja"]
        step("configure llama.cpp", [self._tool("cmake"), *tree, *options, *make_program], self.log)
        say(f"compile llama.cpp with {self.jobs} jobs: about 6 minutes of CPU time ({self.log})")
        ninja = [self._tool("ninja"), "-C", out, f"-j{self.jobs}", "llama-server"]
        step("compile llama.cpp", ninja, self.log)
        built = out / "bin" / "llama-server"
        if shutil.which("strip"):
            step("strip llama-server", ["strip", built], self.log)
        self._link_shared(out)
        shutil.move(built, self.binary)

    def _link_shared(self, out: Path) -> None:
        """Make the libraries llama-cpp-python opens by name. All code is in libllama; libggml leads to it."""
        draft = self.work / "lib"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        link = [compiler() or "c++", "-shared", "-s", "-Wl,-rpath,$ORIGIN"]
        whole = ["-Wl,--whole-archive", *LIBRARIES, "-Wl,--no-whole-archive", "-lpthread", "-lm", "-ldl"]
        llama = ["-Wl,-soname,libllama.so", "-o", draft / "libllama.so"]
        step("link libllama.so", [*link, *llama, *whole], self.log, cwd=out)
        ggml = ["-o", draft / "libggml.so", "-Wl,--no-as-needed", "-L.", "-lllama"]
        step("link libggml.so", [*link, *ggml], self.log, cwd=draft)
        shutil.rmtree(self.libraries, ignore_errors=True)
        draft.rename(self.libraries)

    def _wheel(self) -> Path:
        """The package as a wheel, with the shared libraries in it instead of a second compilation."""
        folder = CACHE / "wheels" / self.key
        if not list(folder.glob("*.whl")):
            self.llama_server()
            shutil.copytree(self.libraries, self.source / "llama_cpp" / "lib", dirs_exist_ok=True)
            # Without the second setting the package's own ignore list keeps the libraries out.
            wanted = ("cmake.define.LLAMA_BUILD=OFF", "sdist.include=llama_cpp/lib/*.so")
            settings = [f"--config-settings={setting}" for setting in wanted]
            wheel = ["wheel", "--no-deps", "--wheel-dir", folder, *settings, self.source]
            step("make the wheel of llama-cpp-python", pip(Path(sys.executable), *wheel), self.log)
        return next(folder.glob("*.whl"))


def _link(binary: Path) -> None:
    link = ENGINES / "llama-server"
    if not (link.is_symlink() and link.readlink() == Path(binary.name)):
        link.unlink(missing_ok=True)
        link.symlink_to(binary.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("llama-server", "llama-cpp-python", "all"))
    parser.add_argument(
        "-O", dest="level", choices="0123", default="1", help="optimisation (default 1: quick to build)"
    )
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="compile jobs at once")
    args = parser.parse_args()
    if sys.platform != "linux":
        say(f"the engines are built on Linux only, this is {sys.platform}")
        return 3
    if compiler() is None:
        say("no C++ compiler (c++, g++ or clang++) found, so no engine can be built. Debian: apt install g++")
        return 3
    build = Build(args.level, args.jobs)
    ENGINES.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    try:
        if args.engine != "llama-cpp-python":
            say(f"llama-server is {build.llama_server()}")
        if args.engine != "llama-server":
            say(f"llama-cpp-python is in {build.llama_cpp_python()}")
    except BuildError as error:
        say(str(error))
        return 1
    build.clean()
    say(f"ready after {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
