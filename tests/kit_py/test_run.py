"""tests/run has to be able to fail: nothing that is missing, skipped or empty may look like a run that passed."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
from remudatest import Missing  # noqa: E402
from remudatest.cluster import built  # noqa: E402
from remudatest.proc import find_program  # noqa: E402

FILE = """import unittest


class Skips(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("no")

    def test_a(self):
        pass

    def test_b(self):
        pass


class Breaks(Skips):
    @classmethod
    def setUpClass(cls):
        raise ValueError("broken")


class Runs(unittest.TestCase):
    def test_good(self):
        pass

    def test_skipped(self):
        self.skipTest("no")

    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
"""


def run(build, *args, **env):
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/run"), "--build", build, *args], env=dict(os.environ, **env),
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


class Run(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def count(self, *names):
        path = os.path.join(self.dir.name, "test_x.py")
        with open(path, "w") as f:
            f.write(FILE)
        done = subprocess.run([sys.executable, "-m", "remudatest.runner", *(f"test_x.{n}" for n in names)], cwd=self.dir.name,
                              env=dict(os.environ, PYTHONPATH=HERE), capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.splitlines()[-1]

    def test_a_class_that_skips_takes_nothing_away(self):
        self.assertEqual(self.count("Skips"), (0, "counts: 0 passed, 0 failed, 0 skipped, 1 classes skipped"))
        self.assertEqual(self.count("Breaks"), (1, "counts: 0 passed, 1 failed, 0 skipped, 0 classes skipped"))
        self.assertEqual(self.count("Runs", "Skips"), (1, "counts: 1 passed, 1 failed, 1 skipped, 1 classes skipped"))

    def test_what_is_not_built_fails(self):
        for args in (("unit", "--only", "test_buf"), ("sim",), ("loopback", "--only", "test_cluster.py")):
            code, out = run(self.dir.name, *args)
            self.assertEqual(code, 1, out)
            self.assertRegex(out.splitlines()[-1], r"^0 passed, [1-9]\d* failed$", out)
        self.assertEqual(run(self.dir.name, "fuzz")[1].splitlines()[-1], "0 passed, 1 failed")

    def test_no_name_fits(self):
        code, out = run(self.dir.name, "unit", "--only", "nosuch")
        self.assertEqual((code, out.splitlines()[-1]), (1, "0 passed, 0 failed"))

    def test_what_is_missing_is_no_skip(self):
        for there in (lambda: built("remuda-node", self.dir.name), lambda: find_program("no-such-server")):
            with self.assertRaises(Missing) as e:
                there()
            self.assertNotIsInstance(e.exception, unittest.SkipTest)


if __name__ == "__main__":
    unittest.main()
