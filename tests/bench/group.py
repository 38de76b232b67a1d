"""CPU time and memory of a set of processes whose members come and go, by a control group: daemons that fork and forget (Exim
lets the kernel reap its children, whose CPU time no parent ever sees) are counted to the last instruction.

A group of cgroup v2 has `cpu.stat` without any controller; where only v1 is mounted its cpuacct does the same. Groups are made
below the mount's root and removed at stop()."""

import atexit
import contextlib
import os
import signal
import subprocess
import threading

from remudatest import Unavailable, wait_until

SAMPLE_S = 0.5


def _mounts():
    """(file system type, directory, options) of what could hold groups: v2 first."""
    with open("/proc/self/mounts") as f:
        rows = [line.split() for line in f]
    rows = [(kind, where, options.split(",")) for _, where, kind, options, *_ in rows if kind in ("cgroup2", "cgroup")]
    return sorted((r for r in rows if r[0] == "cgroup2" or "cpuacct" in r[2]), key=lambda r: r[0] != "cgroup2")


class Group:
    """Processes are put in at their start by `enter`, or later by add(); what they start is in it, too."""

    def __init__(self, name):
        why = "no cgroup file system is mounted"
        for kind, where, _ in _mounts():
            self.dir, self.v2 = os.path.join(where, f"remuda-bench-{os.getpid()}-{name}"), kind == "cgroup2"
            try:
                os.mkdir(self.dir)
                if os.path.exists(os.path.join(self.dir, "cpu.stat" if self.v2 else "cpuacct.usage")):
                    break
                os.rmdir(self.dir)
                why = f"{where}: its groups tell no CPU time"
            except OSError as e:
                why = f"{self.dir}: {e.strerror}"
        else:
            raise Unavailable(f"CPU time is counted by control groups, and none can be made: {why}")
        self.procs = os.path.join(self.dir, "cgroup.procs")
        self.enter = ["sh", "-c", f'echo $$ > {self.procs} && exec "$@"', "enter"]
        self.peak_kib = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def add(self, pid):
        with open(self.procs, "w") as f:
            f.write(str(pid))

    def pids(self):
        with open(self.procs) as f:
            return sorted({int(x) for x in f.read().split()} - {0})

    def cpu_us(self):
        """Microseconds of all that ever was in it."""
        with open(os.path.join(self.dir, "cpu.stat" if self.v2 else "cpuacct.usage")) as f:
            text = f.read()
        return int(text.split()[1]) if self.v2 else int(text) / 1000

    def pss_kib(self):
        """Resident memory; what several processes share is counted once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return total

    def _sample(self):
        while not self._end.wait(SAMPLE_S):
            with contextlib.suppress(OSError, StopIteration):
                self.peak_kib = max(self.peak_kib, self.pss_kib())

    def stop(self):
        """Ends what is still in it, and removes it."""
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()

        def empty():
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.pids()

        wait_until(empty, 20, f"{self.dir} is empty")

        def removed():
            with contextlib.suppress(OSError):  # its last member is a moment from gone
                os.rmdir(self.dir)
                return True
            return False

        wait_until(removed, 20, f"{self.dir} is removed")


def private_root(work, name, layers, writable=()):
    """Words in front of a command that make it see its own root: this machine's, and over it what `layers` (directories) hold; what it
    writes goes into memory, but for `writable`, {path in it: directory of ours}, and what is below the work directory. A mount and
    a pid namespace of its own: nobody else sees it, and it ends with the command."""
    if os.geteuid() != 0:
        raise Unavailable("a root of its own needs root")
    root, upper = work.mkdir(name, "root"), work.mkdir(name, "upper")
    # tar: a package's /lib must not hide that ours is a link
    copies = "".join(f"tar -C {layer} -c . | tar -C {root} -x --keep-directory-symlink\n" for layer in layers)
    binds = "".join(f"mkdir -p {root}{inside}; mount --bind {ours} {root}{inside}\n" for inside, ours in dict(writable).items())
    script = work.write(f"{name}/root.sh", f"""set -e
mount -t tmpfs -o mode=755 tmpfs {upper}
mkdir {upper}/files {upper}/work
mount -t overlay overlay -o lowerdir=/,upperdir={upper}/files,workdir={upper}/work {root}
{copies}mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc
mkdir -p {root}{work.dir}
mount --bind {work.dir} {root}{work.dir}
{binds}exec chroot {root} "$@"
""")
    prefix = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", script]
    done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if done.returncode:
        raise Unavailable(f"a root of its own can't be made here: {done.stderr.decode(errors='replace').strip()}")
    return prefix
