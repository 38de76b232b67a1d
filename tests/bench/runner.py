"""What every bench here does around what it measures: progress, a folder for its work, facts of the machine, errors in one line, the
report as a file and for people. Exit status: 0 measured, 1 something went wrong, 2 it can't run here."""

import json
import os
import shutil
import subprocess
import sys
import time

import measure
from peers.inject import Refused
from remudatest import Failed, Missing, Unavailable, Work

BEGAN = time.monotonic()
progress = sys.stdout  # where say() prints; standard error when the report itself is printed


def say(text):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", file=progress, flush=True)


def write(path, report):
    with open(path + ".new", "w") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
    os.replace(path + ".new", path)


def run(name, build, measured, shown, as_json=False):
    """measured(work) makes the report; shown(report) is what people see of it. The report goes to BUILD/bench/NAME.json, with the machine
    and its load before and after. What processes logged is kept when it fails."""
    global progress
    progress = sys.stderr if as_json else sys.stdout
    out = os.path.join(os.path.abspath(build), "bench")
    directory = os.path.join(out, name + "-work")
    shutil.rmtree(directory, ignore_errors=True)
    machine = measure.machine(out)
    try:
        with Work(directory) as work:
            report = measured(work)
    except (Unavailable, Missing) as e:
        print(f"bench {name}: can't run here: {e}", file=sys.stderr)
        return 2
    except (Failed, Refused, OSError, RuntimeError, subprocess.SubprocessError) as e:
        print(f"bench {name}: {e}\nlogs are in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    machine["load_at_end"] = round(os.getloadavg()[0], 2)
    report["machine"] = machine
    path = os.path.join(out, name + ".json")
    write(path, report)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print(f"\n{shown(report)}\n\n{machine['cpu']}, {machine['cores']} cores, {machine['system']}, OpenSSL {machine['openssl']}, "
              f"{machine['file_system']}; load {machine['load_at_start']} before and {machine['load_at_end']} after\n{path}")
    return 0
