# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in an operator's world: one sentence, an exit code, never a traceback."""

EXIT_REFUSED = 1
EXIT_USAGE = 2


class Fault(Exception):
    """One sentence that names the object and the numbers and says what can be done."""

    def __init__(self, sentence: str, code: int = EXIT_REFUSED):
        super().__init__(sentence)
        self.code = code
