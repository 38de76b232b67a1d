"""A bare ZeroMQ DEALER with CURVE, through libzmq itself: what somebody can send who has a node's key, or had it.

    with Dealer("tcp://127.0.0.1:7350", server_key=..., public=..., secret=...) as d:
        d.send(frame(hello=hello(1, 1)))
        answer = d.receive(2)

Keys are Z85 texts as in the key files. Frames are encoded by hand as far as tests need them: field numbers of remuda.proto."""

import ctypes
import ctypes.util
import os
import time

from .proc import Missing

DEALER, LINGER, CURVE_PUBLICKEY, CURVE_SECRETKEY, CURVE_SERVERKEY, DONTWAIT = 5, 17, 48, 49, 50, 1
FRAME_FIELD = {"hello": 2, "welcome": 3, "refused": 4, "heartbeat": 17}


def _library():
    name = ctypes.util.find_library("zmq") or "libzmq.so.5"
    try:
        z = ctypes.CDLL(name, use_errno=True)
    except OSError:
        raise Missing("libzmq is not installed; `make deps` installs it") from None
    for call in ("zmq_ctx_new", "zmq_socket"):
        getattr(z, call).restype = ctypes.c_void_p
    return z


def read_key(path):
    with open(path, encoding="ascii") as f:
        return next(line.strip() for line in f if line.strip() and not line.startswith("#"))


class Dealer:
    def __init__(self, endpoint, server_key, public, secret):
        self.z = _library()
        self.ctx = ctypes.c_void_p(self.z.zmq_ctx_new())
        self.socket = ctypes.c_void_p(self.z.zmq_socket(self.ctx, DEALER))
        self._set(LINGER, ctypes.c_int(0))
        for option, text in ((CURVE_SERVERKEY, server_key), (CURVE_PUBLICKEY, public), (CURVE_SECRETKEY, secret)):
            key = text.encode() + b"\0"
            self._check(self.z.zmq_setsockopt(self.socket, option, key, ctypes.c_size_t(len(key))))
        self._check(self.z.zmq_connect(self.socket, endpoint.encode()))

    def _check(self, rc):
        if rc < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return rc

    def _set(self, option, value):
        self._check(self.z.zmq_setsockopt(self.socket, option, ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value))))

    def send(self, data):
        """Without waiting for a connection: ZeroMQ keeps it until there is one."""
        self._check(self.z.zmq_send(self.socket, data, ctypes.c_size_t(len(data)), DONTWAIT))

    def receive(self, timeout_s):
        """One frame, or None when there is none in that time."""
        buffer = ctypes.create_string_buffer(1 << 20)
        deadline = time.monotonic() + timeout_s
        while True:
            n = self.z.zmq_recv(self.socket, buffer, ctypes.c_size_t(len(buffer)), DONTWAIT)
            if n >= 0:
                return buffer.raw[:n]
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.01)

    def close(self):
        if self.socket:
            self.z.zmq_close(self.socket)
            self.z.zmq_ctx_term(self.ctx)
            self.socket = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
        return False


# ---- protobuf, the little of it

def varint(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def frame(**body):
    (name, inside), = body.items()
    return field(FRAME_FIELD[name], inside)


def hello(version_min, version_max, journal=bytes(range(16)), boot=bytes(16)):
    return b"".join((field(1, version_min), field(2, version_max), field(3, b"test"), field(4, b"test"), field(5, boot),
                     field(6, journal), field(15, 1000)))


def body_of(data):
    """The name of what a frame carries, and its bytes."""
    names = {v: k for k, v in FRAME_FIELD.items()}
    at = 0
    while at < len(data):
        tag, at = _read(data, at)
        size, at = _read(data, at)
        if tag & 7 == 2:
            if tag >> 3 in names:
                return names[tag >> 3], data[at:at + size]
            at += size
    return None, b""


def _read(data, at):
    n = shift = 0
    while True:
        b = data[at]
        n |= (b & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if not b & 0x80:
            return n, at
