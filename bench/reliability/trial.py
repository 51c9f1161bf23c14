"""One fault, injected into a node: what is promised, what is checked, and what was seen."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import images
from cameras import Diagnostics
from node_process import Node
from peer import Peer
from rig import Rig, in_books
from waiting import until

PHOTOGRAPH = images.photograph("chelsea", 320, 240)
NAMESPACE = "/faults"
# What stands before the text in a line of the log.
HEAD = re.compile(r"^\[\w+\] \[[\d.]+\] \[\S+\]: ")
# Between the folder of a trial and the name of a file.
FOLDERS = re.compile(r"…/(?:[^/\s`]+/)+")
SENTENCE_CHARS = 240


class Impossible(Exception):
    """The fault cannot be injected here."""


@dataclass(frozen=True)
class Fault:
    """A row of the table. `inject` fails with an AssertionError where the promise is not kept."""

    name: str
    how: str
    promise: str
    inject: Callable[["Trial"], None]


@dataclass
class Seen:
    """What one trial has shown."""

    verdict: str = "PASS"
    # Frames that were answered.
    n_before: int = 0
    n_after: int = 0
    # From the fault, or from its end where it ends, to the first answer.
    recovery_secs: float | None = None
    exit_code: int | None = None
    # As the log or /diagnostics has it.
    sentence: str = ""
    notes: list[str] = field(default_factory=list)


class Trial:
    """Starts nodes for one fault and writes down what is seen; a context manager that ends them."""

    def __init__(self, peer: Peer, folder: Path):
        self.peer, self.folder, self.seen = peer, folder, Seen()
        self._stack = ExitStack()
        self._since: float | None = None

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_):
        self._stack.close()

    def keep(self, context):
        """Enters a context that lasts until the trial ends."""
        return self._stack.enter_context(context)

    def at_end(self, do: Callable, *arguments):
        """Has something undone when the trial ends, the last first."""
        self._stack.callback(do, *arguments)

    def rig(self, **options) -> Rig:
        """A node that serves a camera of this process."""
        rig = Rig(self.peer, **({"namespace": NAMESPACE} | options))
        self.at_end(rig.close)
        return rig

    def diagnostics(self, node: Node) -> Diagnostics:
        diagnostics = Diagnostics(self.peer, node.name)
        self.at_end(self.peer.drop, diagnostics.inbox)
        return diagnostics

    def publisher(self, *arguments, **options):
        made = self.peer.publisher(*arguments, **options)
        self.at_end(self.peer.node.destroy_publisher, made)
        return made

    def inbox(self, *arguments, **options):
        made = self.peer.inbox(*arguments, **options)
        self.at_end(self.peer.drop, made)
        return made

    def injected(self):
        """The fault begins, or ends: what is answered from now on counts as after it."""
        self._since = time.monotonic()

    def answered(self, n: int = 1):
        """Counts frames that were answered."""
        if self._since is None:
            self.seen.n_before += n
            return
        self.seen.n_after += n
        if self.seen.recovery_secs is None:
            self.seen.recovery_secs = self.since_secs()

    def since_secs(self) -> float:
        """Since the fault began or ended."""
        return time.monotonic() - self._since

    def serve(self, rig: Rig, n: int = 5, image=PHOTOGRAPH):
        """The node answers `n` frames."""
        for _ in range(n):
            rig.ask(image)
            self.answered()

    def lost_nothing(self, rig: Rig):
        """All that the node has published since the rig was ready came to its reliable subscriber."""
        inbox, n = rig.inboxes["features"], rig.settled()["published"] - rig.base["published"]
        until(lambda: len(inbox) >= n, f"{n} messages", log=lambda: f"{len(inbox)} came")
        self.note(f"all {n} messages came")

    def note(self, text: str):
        self.seen.notes.append(text)

    def tells(self, node: Node, pattern: str, start: int = 0):
        """The log has the line, which is written down."""
        line = node.wait_for_line(pattern, start=start)
        assert line, f"the log has no line like {pattern!r}: {last(node)}"
        self.seen.sentence = self.text(line)

    def diagnoses(self, diagnostics: Diagnostics, what: str, level: int, *texts: str):
        """The status says so on /diagnostics, which is written down."""
        status = until(
            lambda: diagnostics.said(what, level, *texts),
            f"{texts} of {what} on /diagnostics",
            log=lambda: str(diagnostics.last().get(what)),
        )
        self.seen.sentence = f"/diagnostics: {self.text(status.message)}"

    def text(self, line: str) -> str:
        """A line of the log as the table has it."""
        text = FOLDERS.sub("…/", HEAD.sub("", line).replace(str(self.folder), "…"))
        return text if len(text) <= SENTENCE_CHARS else text[: SENTENCE_CHARS - 1] + "…"

    def ended(self, code: int, expected: int, said: str = ""):
        """A process ended as it should."""
        self.seen.exit_code = code
        assert code == expected, f"exit code {code} instead of {expected}: {said[-300:]}"

    def ends(self, node: Node, expected: int, pattern: str):
        """The node ends by itself with one error that matches."""
        self.ended(node.ended(), expected, last(node))
        errors = [line for line in node.output.lines if "[ERROR]" in line or line.startswith("error: ")]
        assert len(errors) == 1, f"{len(errors)} errors: {errors[:3]}"
        assert re.search(pattern, errors[0]), f"the error is {self.text(errors[0])}"
        self.seen.sentence = self.text(errors[0])
        orderly(node)

    def stops(self, node: Node):
        """The node ends in order by SIGTERM, with its books closed."""
        self.ended(node.stop(), 0, last(node))
        orderly(node)
        assert not [line for line in node.output.lines if "[ERROR]" in line], last(node)
        for period in node.stats()[-1:]:
            assert in_books([period])["in_flight"] == 0, f"books that do not close: {period['counts']}"


def last(node: Node) -> str:
    return " / ".join(HEAD.sub("", line) for line in node.output.lines[-2:])


def orderly(node: Node):
    """Nothing has panicked."""
    panics = [line for line in node.output.lines if "panicked" in line]
    assert not panics, panics[0]
