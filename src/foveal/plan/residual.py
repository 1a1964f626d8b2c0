"""How a residual block becomes steps: both branches as they are, a step that adds them, and one for their gradients.

The two branches read the same input, and both get the same gradient: it is marked as shared, so that no step of the one
changes it before the other has read it. The gradient of the input is the sum of what comes back, body first.
"""

from dataclasses import replace

from foveal.kernels import REFERENCE
from foveal.layers import Residual
from foveal.plan.lower import Backward, logical, lower, lowers, new_value, plain, reordered, store
from foveal.plan.native import aligned, unmasked
from foveal.plan.program import Arrays, Builder, Gradient, RunInfo, Value


@lowers(Residual)
def lower_residual(spec: Residual, x: Value, relu: bool, b: Builder) -> tuple[Value, Backward]:
    x = x if b.isa == REFERENCE else aligned(x, b)
    ends, backs = {"shortcut": x}, dict[str, Backward]()
    for name, branch in spec.branches.items():
        with b.scope(name, branch, x.shape):
            end, backs[name] = lower(branch, x, b)
            ends[name] = plain(end)
    body, shortcut = ends["body"], ends["shortcut"]
    needs_gradient = body.needs_gradient or shortcut.needs_gradient
    y = replace(new_value(b, "y", body.shape), needs_gradient=needs_gradient)
    if b.isa != REFERENCE:
        y = replace(body, buffer=b.buffer("y", body.floats), needs_gradient=needs_gradient, rectified=relu)
    _add(y, body, shortcut, b, relu=relu)

    def backward(gradient: Gradient) -> Gradient | None:
        dy = unmasked(gradient, y, b, relu=relu)
        dbody = backs["body"](Gradient(dy, shared=True))
        dshortcut: Gradient | None = Gradient(reordered(dy, y, shortcut, b), shared=True)
        if "shortcut" in backs and dshortcut is not None:
            dshortcut = backs["shortcut"](dshortcut)
        if not x.needs_gradient or dbody is None or dshortcut is None:
            return None
        return _add_gradients(x, dbody, dshortcut, b)

    return y, backward


def _add(y: Value, body: Value, shortcut: Value, b: Builder, *, relu: bool) -> None:
    """Emit y = body + shortcut, and the ReLU of it."""
    flops = y.pixels * y.channels
    if b.isa != REFERENCE:
        other = reordered(shortcut.buffer, shortcut, body, b)
        b.emit("residual_forward", flops, body=body.buffer, shortcut=other, y=y.buffer, count=y.floats, relu=relu)
        return

    def add(at: Arrays, run: RunInfo) -> None:
        parts = [logical(part, at(part.buffer), run.batch) for part in (body, shortcut)]
        store(y, at(y.buffer), parts[0] + parts[1])

    b.python("Residual.forward", add, [body.buffer, shortcut.buffer, y.buffer], flops=flops)


def _add_gradients(x: Value, body: Gradient, shortcut: Gradient, b: Builder) -> Gradient:
    """Emit dx = body + shortcut, masked by the ReLU that made x."""
    dx = b.buffer("dx", x.floats) if body.shared else body.buffer
    flops = x.pixels * x.channels
    if b.isa != REFERENCE:
        mask = x.buffer if x.rectified else None
        parts = {"body": body.buffer, "shortcut": shortcut.buffer}
        b.emit("residual_backward", flops, **parts, mask=mask, dx=dx, count=x.floats)
        return Gradient(dx, masked=x.rectified)

    def add(at: Arrays, run: RunInfo) -> None:
        count = run.batch * x.floats
        at(dx)[:count] = at(body.buffer)[:count] + at(shortcut.buffer)[:count]

    b.python("Residual.backward", add, [body.buffer, shortcut.buffer, dx], flops=flops)
    return Gradient(dx)
