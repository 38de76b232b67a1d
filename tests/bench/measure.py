"""CPU time of processes, facts of the machine, tables.

Linux gives a process's CPU time twice: in /proc/PID/stat, in ticks of 10 ms, of all its threads, ended ones too, and of
its reaped children; and in /proc/PID/task/*/schedstat, in nanoseconds, of threads that live. What is truncated in the
first is exact in the second; the greater of the two is used."""

import os
import re
import statistics
import subprocess
import threading
import time

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()  # from the state on, which is the third field


def _live_us(pid, stat):
    """User and system time of one process, its children not included."""
    ticks = (int(stat[11]) + int(stat[12])) * TICK_US
    exact = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                exact += int(f.read().split()[0]) / 1000
    except OSError:
        pass  # a thread ended while we looked: the ticks have it
    return max(ticks, exact)


def cpu_us(pid):
    """CPU microseconds of a process and of everything it started, living or reaped."""
    children, stats = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stats[int(entry)] = stat = _stat(entry)
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(entry))
    if pid not in stats:
        raise ProcessLookupError(f"process {pid} is gone: its CPU time can't be read")
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        total += _live_us(one, stats[one]) + (int(stats[one][13]) + int(stats[one][14])) * TICK_US
    return total


def threads_us(pid):
    """CPU microseconds of a process's living threads by name; the first thread is "main"."""
    out = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm") as f, open(f"/proc/{pid}/task/{task}/schedstat") as g:
                name = "main" if int(task) == pid else f.read().strip()
                out[name] = out.get(name, 0) + int(g.read().split()[0]) / 1000
        except OSError:
            continue
    return out


class Meter:
    """CPU time between start() and stop(), by name. children: {name: pid}."""

    def __init__(self, children):
        self.children = dict(children)

    def start(self):
        self.machine = machine_us()
        self.begin = {name: cpu_us(pid) for name, pid in self.children.items()}
        self.threads = {name: threads_us(pid) for name, pid in self.children.items()}
        self.at = time.monotonic()
        return self

    def stop(self):
        self.seconds = time.monotonic() - self.at
        for name, pid in self.children.items():
            self.threads[name] = {k: v - self.threads[name].get(k, 0) for k, v in threads_us(pid).items()}
        busy, stolen = (now - then for now, then in zip(machine_us(), self.machine))
        used = {name: cpu_us(pid) - self.begin[name] for name, pid in self.children.items()}
        self.machine = busy / 1e6, stolen / 1e6  # seconds
        return used


def run_measured(argv, timeout_s, **kw):
    """Runs a command; (stdout, its CPU microseconds by rusage). Raises when it fails."""
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    timer = None
    try:
        timer = threading.Timer(timeout_s, child.kill)
        timer.start()
        out = child.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if timer:
            timer.cancel()
        child.stdout.close()
    if child.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {child.returncode}\n{out}")
    return out, (usage.ru_utime + usage.ru_stime) * 1e6


def rss_kib(pid):
    """(resident now, greatest so far) in KiB."""
    with open(f"/proc/{pid}/status") as f:
        text = f.read()
    return tuple(int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1)) for key in ("VmRSS", "VmHWM"))


def machine_us():
    """CPU microseconds that the whole machine has used, and that its host has taken away."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    return (sum(v[:3]) + sum(v[5:7])) * TICK_US, v[7] * TICK_US


def _first(path, pattern):
    try:
        with open(path) as f:
            found = re.search(pattern, f.read(), re.M)
        return found.group(1).strip() if found else ""
    except OSError:
        return ""


def machine(directory):
    """What a reader needs to know of the machine to compare figures."""
    mount = max((line.split()[1:3] for line in open("/proc/self/mounts") if directory.startswith(line.split()[1])),
                key=lambda m: len(m[0]), default=["", ""])
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout.split()
    return {"cpu": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"), "cores": os.cpu_count(),
            "memory_mib": int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0) // 1024,
            "kernel": os.uname().release, "system": _first("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
            "openssl": version[1] if len(version) > 1 else "", "file_system": mount[1],
            "load_at_start": round(os.getloadavg()[0], 2)}


def spread(values):
    """{"median", "min", "max"} of numbers."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(rows, head):
    """Aligned text: first column to the left, the others to the right."""
    rows = [list(map(str, head))] + [list(map(str, r)) for r in rows]
    width = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, width))).rstrip() for r in rows]
    lines.insert(1, "  ".join("-" * w for w in width))
    return "\n".join(lines)
