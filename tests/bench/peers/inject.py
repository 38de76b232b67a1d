"""The injector: hands rendered messages over by SMTP, in a few connections at once, the envelope pipelined where that is offered.

It is a process of its own, so that its CPU time can be told apart: `inject.py ADDRESS PORT SESSIONS FIRST COUNT [DOMAIN]`, messages
as mail.Rendered makes them. They are rendered before it connects; it prints "ready", and begins when a line comes."""

import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import mail  # noqa: E402

RCVBUF = 65536


class Refused(Exception):
    pass


class Session:
    def __init__(self, addr, port):
        self.sock = socket.create_connection((addr, port), 60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb", RCVBUF)
        self.expect(b"220")
        self.sock.sendall(b"EHLO injector.test\r\n")
        self.pipelining = any(line[4:].strip().upper() == b"PIPELINING" for line in self.expect(b"250"))

    def expect(self, code):
        lines = []
        while True:
            line = self.file.readline()
            if not line.startswith(code):
                raise Refused(f"the peer said {line!r}, {code.decode()} was expected")
            lines.append(line)
            if line[3:4] != b"-":
                return lines

    def message(self, sender, recipient, data):
        commands = [(f"MAIL FROM:<{sender}>\r\n".encode(), b"250"), (f"RCPT TO:<{recipient}>\r\n".encode(), b"250"), (b"DATA\r\n", b"354")]
        if self.pipelining:
            commands = [(b"".join(text for text, _ in commands), None), *((b"", code) for _, code in commands)]
        for text, code in commands:
            if text:
                self.sock.sendall(text)
            if code:
                self.expect(code)
        self.sock.sendall(data)
        self.expect(b"250")

    def quit(self):
        self.sock.sendall(b"QUIT\r\n")
        self.expect(b"221")
        self.sock.close()


def inject(addr, port, messages, sessions):
    """Hands the messages over in so many connections at once; raises the first trouble."""
    errors = []

    def one(part):
        try:
            s = Session(addr, port)
            for m in part:
                s.message(*m)
            s.quit()
        except (OSError, Refused) as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(messages[i::sessions],)) for i in range(sessions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def main():
    addr, (port, sessions, first, count) = sys.argv[1], map(int, sys.argv[2:6])
    rendered = mail.Rendered()
    messages = [rendered.message(i, *sys.argv[6:7]) for i in range(first, first + count)]
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        inject(addr, port, messages, sessions)
    except (OSError, Refused) as e:
        sys.exit(f"inject: {e}")


if __name__ == "__main__":
    main()
