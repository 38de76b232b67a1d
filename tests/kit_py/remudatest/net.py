"""Loopback addresses and ports, and a small DNS client for waiting and checking."""

import errno
import os
import random
import socket
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def free_port(addr="127.0.0.1", kind=socket.SOCK_STREAM):
    """A port nobody has at this moment, for both TCP and UDP."""
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    for _ in range(100):
        with socket.socket(family, kind) as s, socket.socket(family, socket.SOCK_DGRAM) as u:
            s.bind((addr, 0))
            port = s.getsockname()[1]
            try:
                u.bind((addr, port))
            except OSError as e:
                if e.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    raise OSError("no free port")


def port_open(addr, port, timeout_s=0.5):
    """True when a TCP connection is accepted. It is closed at once, which servers log."""
    try:
        with socket.create_connection((addr, port), timeout_s):
            return True
    except OSError:
        return False


class Addresses:
    """Addresses of 127.x.y.0/24 blocks; the process id spreads runs that happen at the same time."""

    def __init__(self, second=None):
        self.second = 64 + os.getpid() % 128 if second is None else second
        self.third = 0

    def block(self):
        """The next /24 as a function: last octet -> address."""
        third, self.third = self.third, self.third + 1
        return lambda last: f"127.{self.second}.{third}.{last}"

    def one(self):
        return self.block()(1)


def _name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read_name(packet, at):
    labels, end, jumps = [], None, 0
    while True:
        n = packet[at]
        if n >= 0xC0:
            end = at + 2 if end is None else end
            at = (n & 0x3F) << 8 | packet[at + 1]
            jumps += 1
            if jumps > 20:
                raise ValueError("compression loop")
        elif n == 0:
            return ".".join(labels), at + 1 if end is None else end
        else:
            labels.append(packet[at + 1:at + 1 + n].decode("latin-1"))
            at += 1 + n


def _rdata(packet, at, n, kind):
    data = packet[at:at + n]
    if kind == "A":
        return socket.inet_ntop(socket.AF_INET, data)
    if kind == "AAAA":
        return socket.inet_ntop(socket.AF_INET6, data)
    if kind == "MX":
        return struct.unpack(">H", data[:2])[0], _read_name(packet, at + 2)[0]
    if kind in ("NS", "CNAME", "PTR"):
        return _read_name(packet, at)[0]
    if kind == "SOA":
        _, p = _read_name(packet, at)
        _, p = _read_name(packet, p)
        return struct.unpack(">I", packet[p:p + 4])[0]  # the serial is what tests look at
    if kind == "TXT":
        out, i = b"", 0
        while i < n:
            out += data[i + 1:i + 1 + data[i]]
            i += 1 + data[i]
        return out.decode("latin-1")
    return data


def dns_query(server, port, name, kind="A", timeout_s=1.0):
    """(rcode name, [values of that type]) over UDP with EDNS; ("TIMEOUT", []) when nothing comes."""
    ident = random.randrange(65536)
    query = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 1) + _name(name) + struct.pack(">HH", TYPES[kind], 1)
    query += b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout_s)
        try:
            s.connect((server, port))
            s.send(query)
            packet = s.recv(65535)
        except OSError:
            return "TIMEOUT", []
    got, flags, questions, answers = struct.unpack(">HHHH", packet[:8])
    if got != ident:
        return "TIMEOUT", []
    at, values = 12, []
    for _ in range(questions):
        at = _read_name(packet, at)[1] + 4
    for _ in range(answers):
        at = _read_name(packet, at)[1]
        rtype, _, _, n = struct.unpack(">HHIH", packet[at:at + 10])
        if NAMES.get(rtype) == kind:
            values.append(_rdata(packet, at + 10, n, kind))
        at += 10 + n
    return RCODES.get(flags & 15, str(flags & 15)), values
