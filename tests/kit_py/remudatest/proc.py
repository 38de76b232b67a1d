"""Processes that end with us, a work directory, and waiting with a deadline.

with Work("/tmp/x") as work:
    child = work.start("knotd", ["knotd", "-c", conf])
    wait_until(lambda: port_open(addr, port), 5, "knotd listens", child)
"""

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Something that was waited for did not happen, or a child ended; the text says which and shows its log."""


class Missing(Failed):
    """What our own build makes or `make deps-test` installs isn't there. Never a skip: a run without it has tested nothing."""


class Unavailable(Exception):
    """Something can't run on this kind of machine: it needs root, or IPv6. Tests turn this into a skip with the reason."""


def find_program(*names):
    """The first of the names that exists, looking in the sbin directories too."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise Missing(f"{' or '.join(names)}: not installed; `make deps-test` installs it")


def wait_until(condition, timeout_s, what, child=None, every_s=0.02):
    """Returns the first true value of condition(); raises Failed at the deadline, or when the child has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if child is not None and child.poll() is not None:
            raise Failed(f"{child.name} ended with {child.returncode} while waiting for: {what}\n{child.log_tail()}")
        if time.monotonic() >= deadline:
            tail = f"\n{child.log_tail()}" if child is not None else ""
            raise Failed(f"not within {timeout_s} s: {what}{tail}")
        time.sleep(every_s)


def as_user(name):
    """The words in front of a command that make it run as that user (when we are root) and still end with us: a change
    of user by the program itself would lose the latter."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(name)
    return [find_program("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
            "--pdeathsig=KILL"]


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Child(subprocess.Popen):
    """A started process with a name and a log file."""

    def __init__(self, name, argv, log_path, **kw):
        self.name = name
        self.log_path = log_path
        self.stopped = False
        with open(log_path, "ab") as log:
            kw.setdefault("stdout", log)
            super().__init__(argv, stdin=subprocess.DEVNULL, stderr=log, preexec_fn=_die_with_parent,
                             start_new_session=True, **kw)

    def log_tail(self, lines=15):
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def _members(self):
        """(pid, state) of the process and of those it started, which share its process group."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as f:
                        rest = f.read().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(rest[2]) == self.pid:
                    yield int(entry), rest[0]

    def signal_group(self, signum):
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            pass

    def pause(self):
        """Stops it with all it started, and returns when they stand still."""
        self.stopped = True
        self.signal_group(signal.SIGSTOP)
        wait_until(lambda: all(state in "TZ" for _, state in self._members()), 5, f"{self.name} stands still", every_s=0.002)

    def resume(self):
        self.stopped = False
        self.signal_group(signal.SIGCONT)

    def kill_all(self):
        """SIGKILL to it and to all it started, as when the power goes."""
        self.signal_group(signal.SIGKILL)
        self.wait()

    def end(self, timeout_s=10):
        """SIGTERM, then SIGKILL after the time; returns the exit status."""
        if self.poll() is None:
            if self.stopped:
                self.resume()
            self.terminate()
            try:
                self.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill_all()
        return self.returncode


class Work:
    """A directory and the children that live in it. Children end in the reverse order of their start."""

    def __init__(self, directory=None, keep=None):
        self.keep = directory is not None if keep is None else keep
        self.dir = os.path.abspath(directory) if directory else tempfile.mkdtemp(prefix="remuda-")
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)  # servers that drop privileges read below it
        self.children = []
        self.owner = os.getpid()
        atexit.register(self.close)
        for signum in (signal.SIGTERM, signal.SIGHUP):
            main = threading.current_thread() is threading.main_thread()  # only it may set handlers
            if main and signal.getsignal(signum) == signal.SIG_DFL:
                signal.signal(signum, lambda n, _: sys.exit(128 + n))

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mkdir(self, *parts, owner=None, mode=0o755):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        if owner and os.geteuid() == 0:
            shutil.chown(path, owner)
        return path

    def write(self, name, text):
        """Replaces a file at once, so that no reader sees half of it."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.replace(path + ".new", path)
        return path

    def start(self, name, argv, **kw):
        child = Child(name, argv, self.path(f"{name}.log"), **kw)
        self.children.append(child)
        return child

    def run(self, argv, timeout_s=60, **kw):
        """Runs a command to its end; raises Failed with its output when it fails."""
        done = subprocess.run(argv, timeout=timeout_s, capture_output=True, check=False, **kw)
        if done.returncode:
            out = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{out}")
        return done.stdout.decode(errors="replace")

    def close(self):
        if os.getpid() != self.owner:  # a fork of ours has no say
            return
        while self.children:
            self.children.pop().end()
        atexit.unregister(self.close)
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
        return False
