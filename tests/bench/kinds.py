"""What is measured in each run beside the personalised, signed message of 10 KiB: other kinds of mail through the same
cluster, the cheapest sender there is beside the unsigned one, and a list that is only taken in. And the targets."""

import json
import os

import mail
import measure
from remudatest import Failed
from remudatest.proc import find_program

# kind: (stream, template)
KINDS = {"signed": ("bulk", mail.template),
         "equal": ("equal", mail.equal_template),
         "large": ("bulk", lambda: mail.template(mail.LARGE_BYTES)),
         "unsigned": ("bulk", mail.template)}  # the last: from then on the nodes' signatures are worth nothing


def streams(cluster, key):
    cluster.stream("bulk", [key])
    cluster.stream("equal", [key], one_signature="yes", unsubscribe_url=None, unsubscribe_mailto=None)


def without_signature(cluster, build):
    """Starts the nodes anew with preload/no_signature.c."""
    for name, node in cluster.nodes.items():
        stop(node)
        cluster.connected(name, False)
        node.start({"LD_PRELOAD": os.path.join(build, "bench/bin/no_signature.so")})
        cluster.connected(name)


def stop(node):
    if node.stop():
        raise Failed(f"{node.name} ended with an error")


def smtp_source(address, port, domain, size, messages, sessions):
    """CPU microseconds a message of Postfix's test sender, which renders, signs, keeps and decides nothing; sessions kept."""
    argv = [find_program("smtp-source"), "-d", "-s", str(sessions), "-m", str(messages), "-l", str(size), "-f", f"news@{mail.SENDER}",
            "-t", f"user@{domain}", f"inet:{address}:{port}"]
    _, used_us = measure.run_measured(argv, 120)
    return used_us / messages


def intake(cluster, work, rows):
    """(CPU microseconds a row of the coordinator, of `remuda send`) for a list that nobody deals: the nodes have left."""
    path = work.path("intake.csv")
    mail.write_csv(path, rows)
    template = work.write("intake.eml", mail.template())
    meter = measure.Meter({"coordinator": cluster.coordinator.child.pid}).start()
    out, command_us = measure.run_measured([cluster.command, "--api", cluster.socket, "--json", "send", "--template", template,
                                            "--recipients", path, "--stream", "bulk"], 120)
    used = meter.stop()
    os.unlink(path)
    campaign = cluster.campaign(json.loads(out)["campaign"]["id"])
    if campaign["queued"] != rows:
        raise Failed(f"{rows} rows were to be queued, {campaign['queued']} are")
    return used["coordinator"] / rows, command_us / rows


# (what, unit, target, key of a run's figures, decimals)
TARGETS = (("CPU a message, personalised and signed / a bare signature", "", "<= 1.25", "cpu_over_rsa", 2),
           ("CPU a message besides the signature", "us", "<= 75", "besides_signature_us", 0),
           ("unsigned: CPU a message / smtp-source -d", "", "<= 1.3", "unsigned_over_smtp_source", 2),
           ("identical body and signed headers: CPU a message", "us", "<= 60", "equal_cpu_us_per_message", 0),
           ("100 KB, signed: throughput / that of 10 KiB", "", ">= 0.6", "large_over_small_throughput", 2),
           ("coordinator, all threads: CPU a recipient", "us", "<= 15", "coordinator_cpu_us_per_recipient", 1),
           ("intake of a CSV: the coordinator's CPU a row", "us", "<= 4", "intake_cpu_us_per_row", 1))


def judged(spreads):
    """Rows of a table: what, target, median, least, greatest, met or by how much not. Only what was measured."""
    out = []
    for what, unit, target, key, decimals in TARGETS:
        if key not in spreads:
            continue
        s, (sign, limit) = spreads[key], (target.split()[0], float(target.split()[1]))
        off = s["median"] / limit - 1 if sign == "<=" else 1 - s["median"] / limit
        out.append([what, f"{target} {unit}".strip(), *(f"{s[x]:.{decimals}f}" for x in ("median", "min", "max")),
                    "met" if off <= 0 else f"missed by {off:.0%}"])
    return out
