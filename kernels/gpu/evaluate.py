"""Outputs and signatures, at points that are read or at pixels whose coordinates are computed; edges for frames."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import activate, dense, place
from draw_poly.kernels.gpu.plan import EVALUATION_STAGES, evaluation_plan
from draw_poly.kernels.gpu.workspace import layer_table
from draw_poly.kernels.spec import BELOW, RIGHT, Network
from draw_poly.kernels.tensors import read, read_rows, written

RIGHT_BIT, BELOW_BIT = tl.constexpr(RIGHT), tl.constexpr(BELOW)


@triton.jit
def outputs_and_signature(p_parameters, p_table, p_coefficients, inputs, PLAN: tl.constexpr):
    """Outputs, a tuple of [T], and signatures [T] int64 of inputs, a tuple of [T]."""
    if PLAN.unrolled:
        return by_neuron(p_parameters, p_coefficients, inputs, PLAN)
    return by_layer(p_parameters, p_table, p_coefficients, inputs, PLAN)


@triton.jit
def by_neuron(p_parameters, p_coefficients, inputs, PLAN: tl.constexpr):
    """Narrow networks: a thread takes its points alone through every neuron, so that nothing is padded or shared."""
    T: tl.constexpr = PLAN.tile
    LAST: tl.constexpr = len(PLAN.dims) - 2
    # A coefficient's upper and lower 16 bits are added apart, each within 32: half the instructions of a sum in 64.
    upper, lower = tl.zeros([T], tl.int32), tl.zeros([T], tl.int32)
    hidden, upper, lower = neurons(
        p_parameters, p_coefficients, inputs, upper, lower, PLAN.dims[0], PLAN.dims[1], True, PLAN
    )
    if PLAN.equal:  # a loop: unrolled, the compiler would put all signs off to the end, and spill them
        WIDTH: tl.constexpr = PLAN.dims[1]
        p_layer, p_codes = p_parameters + PLAN.offsets[1], p_coefficients + WIDTH
        for _ in range(1, LAST):
            hidden, upper, lower = neurons(p_layer, p_codes, hidden, upper, lower, WIDTH, WIDTH, True, PLAN)
            p_layer += WIDTH * (WIDTH + 1)
            p_codes += WIDTH
    else:
        p_codes = p_coefficients
        for layer in tl.static_range(1, LAST):
            p_codes += PLAN.dims[layer]
            hidden, upper, lower = neurons(
                p_parameters + PLAN.offsets[layer], p_codes, hidden, upper, lower, PLAN.dims[layer],
                PLAN.dims[layer + 1], True, PLAN,
            )  # fmt: skip
    outputs, upper, lower = neurons(
        p_parameters + PLAN.offsets[LAST], p_coefficients, hidden, upper, lower, PLAN.dims[LAST], PLAN.dims[LAST + 1],
        False, PLAN,
    )  # fmt: skip
    return outputs, (upper.to(tl.int64) << 16) + lower


@triton.jit
def neurons(
    p_layer, p_coefficients, inputs, upper, lower, INTO: tl.constexpr, OUT: tl.constexpr, HIDDEN: tl.constexpr,
    PLAN: tl.constexpr,
):  # fmt: skip
    """One layer, neuron by neuron: a tuple of [T] to a tuple of [T], and the signatures' halves [T] int32."""
    outputs = ()
    for neuron in tl.static_range(OUT):
        z = tl.load(p_layer + OUT * INTO + neuron) + tl.load(p_layer + neuron * INTO) * inputs[0]
        for k in tl.static_range(1, INTO):
            z += tl.load(p_layer + neuron * INTO + k) * inputs[k]
        if HIDDEN:
            coefficient = tl.load(p_coefficients + neuron).to(tl.int32)
            upper += tl.where(z > 0, coefficient >> 16, 0)
            lower += tl.where(z > 0, coefficient & 0xFFFF, 0)
            z = activate(z, PLAN)
        outputs += (z,)  # type: ignore[assignment]
    return outputs, upper, lower


@triton.jit
def by_layer(p_parameters, p_table, p_coefficients, inputs, PLAN: tl.constexpr):
    """Any width and depth: a layer at a time, as `layers.forward`."""
    W: tl.constexpr = PLAN.width
    T: tl.constexpr = PLAN.tile
    INPUTS: tl.constexpr = PLAN.dims[0]
    LAST: tl.constexpr = len(PLAN.dims) - 2
    OUTPUTS: tl.constexpr = PLAN.dims[LAST + 1]
    o_w = tl.arange(0, PLAN.width)
    hidden = tl.zeros([W, T], tl.float32)
    for k in tl.static_range(INPUTS):
        hidden = tl.where(o_w[:, None] == k, inputs[k][None, :], hidden)
    signature, live = tl.zeros([T], tl.int64), tl.full([T], True, tl.int1)
    for layer in range(LAST):
        offset, into, out = place(p_table, layer)
        z = dense(p_parameters, offset, into, out, hidden, live, PLAN)
        coefficients = tl.load(p_coefficients + o_w, mask=o_w < out, other=0)
        signature += tl.sum(tl.where(z > 0, coefficients[:, None], 0), 0)
        p_coefficients += out
        hidden = activate(z, PLAN)
    z = dense(p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, live, PLAN)
    outputs = ()
    for k in tl.static_range(OUTPUTS):
        outputs += (tl.sum(tl.where(o_w[:, None] == k, z, 0.0), 0),)  # type: ignore[assignment]
    return outputs, signature


@triton.jit(do_not_specialize=["points", "size", "neurons", "inputs_stride", "inputs_row_stride"])
def evaluate_kernel(
    p_parameters,  # (networks, size)
    p_table,  # (layers, 3) int32
    p_coefficients,  # (networks, neurons) int64
    p_inputs,  # (networks, inputs, points), rows of any stride
    p_outputs,  # (networks, outputs, points)
    p_signatures,  # (networks, points) int64
    points,
    size,
    neurons,
    inputs_stride,
    inputs_row_stride,
    MANY: tl.constexpr,
    PLAN: tl.constexpr,
):
    """A tile of a network's points, coordinates read. MANY as of the gradient's kernel."""
    INPUTS: tl.constexpr = PLAN.dims[0]
    LAST: tl.constexpr = len(PLAN.dims) - 1
    OUTPUTS: tl.constexpr = PLAN.dims[LAST]
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_parameters += network * size
        p_coefficients += network * neurons
        p_inputs += network * inputs_stride
        p_outputs += network * OUTPUTS * points
        p_signatures += network * points
    o_t = tl.program_id(0).to(tl.int64) * PLAN.tile + tl.arange(0, PLAN.tile)
    inputs = ()
    for k in tl.static_range(INPUTS):
        row = k * inputs_row_stride.to(tl.int64)
        inputs += (tl.load(p_inputs + row + o_t, mask=o_t < points, other=0.0),)  # type: ignore[assignment]
    outputs, signature = outputs_and_signature(p_parameters, p_table, p_coefficients, inputs, PLAN)
    for k in tl.static_range(OUTPUTS):
        tl.store(p_outputs + k * points.to(tl.int64) + o_t, outputs[k], mask=o_t < points)
    tl.store(p_signatures + o_t, signature, mask=o_t < points)


@triton.jit(do_not_specialize=["width", "height", "top", "rows", "size", "neurons"])
def grid_kernel(
    p_parameters,  # (networks, size)
    p_table,  # (layers, 3) int32
    p_coefficients,  # (networks, neurons) int64
    p_outputs,  # (networks, outputs, rows, width)
    p_signatures,  # (networks, rows, width) int64
    p_edges,  # (networks, rows, width) uint8
    width,
    height,
    top,
    rows,
    size,
    neurons,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    EDGES: tl.constexpr,
    MANY: tl.constexpr,
    PLAN: tl.constexpr,
):
    """A tile of pixels, DOWN x ACROSS; with edges, its last row and column are there for their neighbours' sake."""
    LAST: tl.constexpr = len(PLAN.dims) - 1
    OUTPUTS: tl.constexpr = PLAN.dims[LAST]
    RIM: tl.constexpr = 1 if EDGES else 0
    if MANY:
        network = tl.program_id(2).to(tl.int64)
        p_parameters += network * size
        p_coefficients += network * neurons
        p_outputs += network * OUTPUTS * rows * width
        p_signatures += network * rows * width
        if EDGES:
            p_edges += network * rows * width
    o_t = tl.arange(0, PLAN.tile)
    tile_row, tile_column = o_t // ACROSS, o_t % ACROSS
    row = tl.program_id(1) * (DOWN - RIM) + tile_row  # of those asked for
    column = tl.program_id(0) * (ACROSS - RIM) + tile_column
    # One rounding, as of a division in float64 that is then rounded to float32: that has bits enough.
    x = tl.div_rn(column.to(tl.float32), width.to(tl.float32))
    y = tl.div_rn((row + top).to(tl.float32), height.to(tl.float32))
    outputs, signature = outputs_and_signature(p_parameters, p_table, p_coefficients, (x, y), PLAN)
    own = (row < rows) & (column < width) & (tile_row < DOWN - RIM) & (tile_column < ACROSS - RIM)
    place_of = row.to(tl.int64) * width + column
    if EDGES:
        beside = tl.gather(signature, tl.minimum(o_t + 1, PLAN.tile - 1), 0)
        under = tl.gather(signature, tl.minimum(o_t + ACROSS, PLAN.tile - 1), 0)
        edges = tl.where((beside != signature) & (column < width - 1), RIGHT_BIT, 0)
        edges += tl.where((under != signature) & (row + top < height - 1), BELOW_BIT, 0)
        tl.store(p_edges + place_of, edges.to(tl.uint8), mask=own)
    for k in tl.static_range(OUTPUTS):
        tl.store(p_outputs + k * rows.to(tl.int64) * width + place_of, outputs[k], mask=own)
    tl.store(p_signatures + place_of, signature, mask=own)


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (networks, k, n) and int64 signatures (networks, n) at inputs (networks, 2, n).

    `parameters` (networks, P), `coefficients` (networks, neurons); the inputs' rows may have any stride.
    """
    networks, points = len(parameters), inputs.shape[-1]
    inputs = read_rows("inputs", inputs, networks, network.dims[0], points)
    parameters, coefficients = _numbers(network, parameters, coefficients, outputs, signatures, points)
    constants, warps = evaluation_plan(network, rim=False, points=points)
    with torch.cuda.device_of(inputs):
        evaluate_kernel[(-(-points // constants.tile), networks)](
            p_parameters=parameters,
            p_table=layer_table(network, parameters.device),
            p_coefficients=coefficients,
            p_inputs=inputs,
            p_outputs=outputs,
            p_signatures=signatures,
            points=points,
            size=network.size,
            neurons=network.neurons,
            inputs_stride=inputs.stride(0),
            inputs_row_stride=inputs.stride(1),
            MANY=networks > 1,
            PLAN=constants,
            num_warps=warps,
            num_stages=EVALUATION_STAGES,
            enable_fp_fusion=True,
        )


def evaluate_grid(
    network: Network, parameters: Tensor, coefficients: Tensor, size: tuple[int, int], top: int, outputs: Tensor,
    signatures: Tensor, edges: Tensor | None = None,
) -> None:  # fmt: skip
    """As `evaluate`, at pixels: rows from `top` on of a picture of `size` (width, height).

    `outputs` (networks, k, rows, width), `signatures` (networks, rows, width); `edges` (networks, rows, width) uint8
    receives the bits `spec.RIGHT` and `spec.BELOW` where the neighbour there lies in the picture and has another
    signature.
    """
    width, height = size
    networks, rows = len(parameters), signatures.shape[1]
    parameters, coefficients = _numbers(network, parameters, coefficients, outputs, signatures, rows, width)
    if edges is not None:
        written("edges", edges, networks, rows, width, dtype=torch.uint8)
    constants, warps = evaluation_plan(network, rim=edges is not None, points=rows * width)
    down = 1 << (constants.tile.bit_length() - 1) // 2
    across = constants.tile // down
    rim = 0 if edges is None else 1
    grid = -(-width // (across - rim)), -(-rows // (down - rim)), networks
    with torch.cuda.device_of(outputs):
        grid_kernel[grid](
            p_parameters=parameters,
            p_table=layer_table(network, parameters.device),
            p_coefficients=coefficients,
            p_outputs=outputs,
            p_signatures=signatures,
            p_edges=signatures if edges is None else edges,
            width=width,
            height=height,
            top=top,
            rows=rows,
            size=network.size,
            neurons=network.neurons,
            DOWN=down,
            ACROSS=across,
            EDGES=edges is not None,
            MANY=networks > 1,
            PLAN=constants,
            num_warps=warps,
            num_stages=EVALUATION_STAGES,
            enable_fp_fusion=True,
        )


def _numbers(
    network: Network, parameters: Tensor, coefficients: Tensor, outputs: Tensor, signatures: Tensor, *shape: int
) -> tuple[Tensor, Tensor]:
    """What kernels read of networks, whose outputs (networks, k, *shape) and signatures may be written."""
    networks = len(parameters)
    written("outputs", outputs, networks, network.dims[-1], *shape)
    written("signatures", signatures, networks, *shape, dtype=torch.int64)
    terms = read("coefficients", coefficients, networks, network.neurons, dtype=torch.int64)
    return read("parameters", parameters, networks, network.size), terms
