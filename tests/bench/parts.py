"""Where the CPU of a message goes, by part of the design's budget: samples of perf, told apart by the functions on their
stacks. A sample belongs to the innermost function that a rule names, or else to what its thread is for."""

import collections
import os
import re
import shutil
import signal
import subprocess

HZ = 400
STACK_BYTES = 8192

# (part, pattern of functions). The order matters only within one frame.
NODE = [("signature", r"sign_digest$|EVP_PKEY_sign$"),
        ("canonicalise and hash", r"sha256_(init|update|final)$|rmd_dkim_|canon_"),
        ("journal", r"rmd_journal_|rocks_append|journal_"),
        ("bus", r"rmd_bus_|zmq_"),
        ("network: send, receive, wait", r"__send$|__libc_send|__libc_recv|recv$|send$|epoll_wait|rmd_dial_|epoll_ctl|poll$"),
        ("render", r"rmd_render"),
        ("letters between threads", r"rmd_mailbox_|rmd_letter_"),
        ("SMTP, pacing, verdicts", r"rmd_smtp_|rmd_worker_|rmd_rules_|loop_|rmd_pacer"),
        ("leases, reports", r"node_|rmd_node_")]
COORDINATOR = [("intake", r"rmd_upload_|rmd_intake_|rmd_csv_|rmd_template_|rmd_api_|MHD_"),
               ("history", r"history_"),
               ("store", r"rocks_|rocksdb_|rmd_store_"),
               ("bus", r"rmd_bus_|zmq_"),
               ("schedule, lease, settle", r"rmd_coord_|rmd_shell_|rmd_lease|rmd_report|rmd_sched|rmd_queue")]
THREADS = [("bus", r"^ZMQ"), ("signature", r"^worker-"), ("intake", r"^MHD"), ("store", r"^rocksdb")]


class Perf:
    """perf record on processes, from start() to stop(). Lost samples don't matter: shares are what is read."""

    def __init__(self, work, pids):
        self.program = shutil.which("perf")
        if not self.program:
            raise RuntimeError("--profile needs perf (package linux-perf)")
        self.work, self.pids = work, pids
        self.path = work.path("perf.data")

    def start(self):
        self.child = self.work.start("perf", [self.program, "record", "-q", "-e", "cpu-clock", "-F", str(HZ), "--call-graph",
                                              f"dwarf,{STACK_BYTES}", "-o", self.path,
                                              "-p", ",".join(map(str, self.pids.values()))])
        return self

    def stop(self):
        """{process: {part: share of its samples}}"""
        self.child.send_signal(signal.SIGINT)
        self.child.wait(60)
        names = {pid: name for name, pid in self.pids.items()}
        counts = {name: collections.Counter() for name in self.pids}
        script = subprocess.Popen([self.program, "script", "-i", self.path, "--no-inline", "-F", "comm,pid,tid,ip,sym,dso"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
        head, stack = None, []
        for line in script.stdout:
            if line.strip() and not line[0].isspace():
                head = re.match(r"(.*?)\s+(\d+)/(\d+)\s*$", line)
            elif line.strip():
                frame = re.match(r"\s+[0-9a-f]+ (.*) \((.*)\)$", line.rstrip())
                stack.append((frame.group(1), frame.group(2)) if frame else ("", ""))
            elif head:
                pid = int(head.group(2))
                if pid in names:
                    counts[names[pid]][part(names[pid], head.group(1), pid == int(head.group(3)), stack)] += 1
                head, stack = None, []
        if script.wait():
            raise RuntimeError("perf script failed")
        os.unlink(self.path)
        return {name: {p: n / sum(c.values()) for p, n in c.most_common()} for name, c in counts.items() if c}


def part(process, thread, main, stack):
    rules = COORDINATOR if process == "coordinator" else NODE
    for function, _ in stack:
        for name, pattern in rules:
            if re.search(pattern, function.split("+")[0]):
                return name
    for name, pattern in THREADS:
        if re.search(pattern, thread) and (name != "signature" or (stack and "libcrypto" in stack[0][1])):
            return name
    if process == "coordinator":
        return "schedule, lease, settle" if main else "store"
    return "leases, reports" if main else "not attributed"
