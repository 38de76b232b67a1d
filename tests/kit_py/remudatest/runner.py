"""Runs one file of tests and counts them, for tests/run: `python3 -m remudatest.runner FILE`.

unittest's own summary can't be counted: a class whose setUpClass skips adds to "skipped" and not to "Ran", so that a difference of the
two says nothing. Here a test has passed when it ran to its end, and only then. The last line is
"counts: N passed, N failed, N skipped, N classes skipped"."""

import sys
import unittest


class Result(unittest.TextTestResult):
    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.passed = self.skipped_tests = self.skipped_classes = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase):
            self.skipped_tests += 1
        else:  # unittest's stand-in for a setUpClass or a setUpModule
            self.skipped_classes += 1

    @property
    def failed(self):
        return len(self.failures) + len(self.errors) + len(self.unexpectedSuccesses)


def main():
    program = unittest.main(module=None, argv=["remudatest.runner", *sys.argv[1:]], exit=False,
                            testRunner=unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result))
    r = program.result
    print(f"counts: {r.passed} passed, {r.failed} failed, {r.skipped_tests} skipped, {r.skipped_classes} classes skipped", flush=True)
    sys.exit(0 if r.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
