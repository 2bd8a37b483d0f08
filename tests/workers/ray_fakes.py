"""As much of Ray as the pool of actors uses, with calls that return when a test says so."""

from __future__ import annotations

from types import SimpleNamespace


class RayError(Exception):
    pass


class ActorDiedError(RayError):
    pass


class Call:
    """An outstanding call; `value` is what it returns, or the exception that it raises."""

    def __init__(self, name, given) -> None:
        self.name, self.given, self.done, self.value = name, given, False, None

    def answer(self, value) -> None:
        self.done, self.value = True, value


class Handle:
    """An actor: every method that is called becomes a `Call` in `calls`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *given: self._call(name, given))

    def _call(self, name, given):
        self.calls.append(Call(name, given))
        return self.calls[-1]


class FakeRay:
    exceptions = SimpleNamespace(
        RayError=RayError,
        ActorDiedError=ActorDiedError,
        OutOfMemoryError=type("OutOfMemoryError", (RayError,), {}),
        ActorUnavailableError=type("ActorUnavailableError", (RayError,), {}),
        RayTaskError=type("RayTaskError", (RayError,), {}),
    )
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
    )

    def __init__(self) -> None:
        self.handles: list[Handle] = []
        self.killed: list[Handle] = []
        self.options: list[dict] = []

    def remote(self, _):
        return SimpleNamespace(options=self._options)

    def _options(self, **options):
        self.options.append(options)
        return SimpleNamespace(remote=self._start)

    def _start(self, *_):
        self.handles.append(Handle())
        return self.handles[-1]

    def wait(self, calls, num_returns=1, timeout=0.0):
        done = [call for call in calls if call.done][: max(num_returns, 1)]
        return done, [call for call in calls if call not in done]

    def get(self, call, timeout=None):
        if isinstance(call.value, RayError):
            raise call.value
        return call.value

    def kill(self, handle, no_restart):
        self.killed.append(handle)

    def put(self, data):
        return data
