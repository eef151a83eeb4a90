"""Signals: SIGTERM and Ctrl-C end a run behind the step that is being taken, with a checkpoint of it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import torch
import torch.distributed as dist
from accelerate import PartialState
from transformers import TrainerCallback


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; `signum` is which. (No Exception: libraries that go on after errors let it pass.)"""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """Listens for SIGTERM and SIGINT, as a context.

    A signal raises `Interrupted` at once, but while `deferred` is set: then it is noted in `received`, and a second
    Ctrl-C ends the process on the spot. A second SIGTERM does nothing more: clusters send it to a launcher and to
    the processes below it, which then get it twice.
    """

    def __init__(self):
        self.received: int | None = None
        self.deferred = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():  # no other may listen
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        again, self.received = self.received, self.received or signum
        if not self.deferred:
            raise Interrupted(signum)
        if again is None:
            _say(f"{signal.Signals(signum).name}: saving behind this step; Ctrl-C again ends at once")
        elif signum == signal.SIGINT:
            _say("samvlm train: interrupted again: ended at once")
            os._exit(128 + signum)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What can be cut off and done again: here a signal, also one that has come before, raises Interrupted."""
        before, self.deferred = self.deferred, False
        try:
            if self.received is not None:
                raise Interrupted(self.received)
            yield
        finally:
            self.deferred = before

    def agreed(self) -> int | None:
        """The signal that some process has received; all processes ask together."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            flag = torch.tensor(self.received or 0, device=PartialState().device)
            dist.all_reduce(flag, dist.ReduceOp.MAX)
            self.received = int(flag) or None
        return self.received

    def end_deferral(self) -> None:
        """Signals count at once again. Raises Interrupted where some process has received one."""
        self.deferred = False
        if self.agreed() is not None:
            raise Interrupted(self.received)


class StopOnSignal(TrainerCallback):
    """Ends training behind the step in which some process was told to, in every process, with a checkpoint."""

    def __init__(self, signals: Signals):
        self.signals = signals

    def on_train_begin(self, args, state, control, **kwargs):
        """From here on, signals wait for the end of a step."""
        self.signals.deferred = True

    def on_step_end(self, args, state, control, **kwargs):
        """Stop together."""
        if self.signals.agreed() is not None:
            control.should_save = control.should_training_stop = True


def leave_signals_to_parent(worker: int) -> None:
    """For a data worker: Ctrl-C and SIGTERM, which often reach a whole group of processes, are the main process'
    affair, and it needs samples for its last step. It ends its workers with a SIGTERM of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _say(text: str) -> None:
    """Write a line to standard error, which may be locked by what the signal came into, or gone."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
