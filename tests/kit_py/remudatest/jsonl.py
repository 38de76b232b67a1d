"""JSON-lines files that somebody else is still writing."""

import json
import os


class Follower:
    """Reads what was added since the last read(); a half-written last line waits for its rest."""

    def __init__(self, path):
        self.path = path
        self.at = 0
        self.rest = b""

    def read(self):
        """A list of the new objects."""
        try:
            with open(self.path, "rb") as f:
                f.seek(self.at)
                data = f.read()
        except FileNotFoundError:
            return []
        self.at += len(data)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        return [json.loads(line) for line in lines if line]


def read_jsonl(path):
    """All complete lines. A broken line raises: evidence that can't be read is no evidence."""
    return Follower(path).read() if os.path.exists(path) else []
