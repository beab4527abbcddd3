"""What the terminal shows of a plan: how far to believe the model, layouts, what they cost, what to measure first."""

from __future__ import annotations

from dataclasses import asdict, fields

from rich.table import Table

from lucie.hpc.sites import Constant, Storage
from lucie.scaling.fit import COVERED, Model, Test
from lucie.scaling.memory import Memory
from lucie.scaling.model import Slowness
from lucie.scaling.option import Option, Range
from lucie.scaling.plan import AIM, Plan
from lucie.terminal import line, out

TARGET = 0.15  # median error that a number is printed with; above it, only what was measured and the factor
MEMORY = [field.name for field in fields(Memory)]


def show_plan(plan: Plan) -> None:
    """The whole plan."""
    _title(f"{plan.recipe.name}: {plan.recipe.says}, on {plan.site.says}: {plan.gpus.says}")
    show_model(plan.model)
    _title("Layouts: the main phase (a step of the full batch; slow steps are in it)")
    _rows(
        ["layout", "GPUs", "step", "tokens/s a GPU", "of the peak", "if kernels wait"],
        [_speed(option) for option in plan.options],
    )
    out.print()
    for option in plan.options:
        line(option.name, str(option.phases[0].layout))
    _title("Where the time of that step goes, in ms")
    _rows(["", *(option.name for option in plan.options)], _split(plan.options))
    _title("Memory of a GPU, in GB")
    _rows(["layout", "phase", *MEMORY, "in all"], _memory(plan.options))
    _title(f"Cost of all phases ({plan.published_hours:,.0f} GPU hours in the authors' logs)")
    _rows(
        ["layout", "GPU hours", "of the authors'", "days", "jobs", "MWh", "t CO2e"],
        [_cost(plan, option) for option in plan.options],
    )
    _believe(plan)
    _title("Storage")
    _storage(plan)
    _title("Assumptions")
    for name, text in assumptions(plan):
        line(name, text)
    _title("To measure first, on one node, before believing this")
    for name, text in MEASUREMENTS:
        line(name, text)


def show_model(model: Model) -> None:
    """How well the model predicts what it was not fitted on."""
    _title("The model against measured steps")
    rows = [
        ["fitted: half of the layouts", *_errors(model.fit)],
        ["tested: logs, other half", *_errors(model.logged)],
        ["tested: longer sequences, other half", *_errors(model.longer)],
        ["tested: both", *_errors(model.test)],
    ]
    _rows(["trials", "number", "median error", "largest", "rank correlation"], rows)
    out.print()
    for trial, seconds in zip(model.training.trials, model.training.seconds, strict=True):
        line(f"training: {trial.name}", _against(trial.seconds, seconds, model))
    line("factors", f"{_factors(model.slowness)}; the mean step takes {model.slow_steps:.2f} times the median")
    line("swapped", f"fitted on the tested half: {_factors(model.swapped)}. So sure are they")
    low, high = model.interval(1.0)
    line(
        "intervals",
        f"{COVERED:.0%} of the tested trials took {low:.2f} to {high:.2f} times what the model says; that "
        "GPUs and software of a plan are others is not in them",
    )


def assumptions(plan: Plan) -> list[tuple[str, str]]:
    """What the plan takes for granted, with its sources."""
    speed = plan.site.checkpoint_speed
    constants = [("checkpoint_speed", speed)] if speed else []
    constants += [(name, value) for name, value in plan.gpus if isinstance(value, Constant)]
    return [
        ("kernels", "launched ahead of the GPU: CUDA_LAUNCH_BLOCKING is not set, and no time is lost to launches"),
        ("same shares", "these GPUs reach the shares of their data sheet that the A100 of the trials did"),
        ("same software", "nanotron is as fast as the trials' Megatron-DeepSpeed, with FlashAttention"),
        ("no overlap", "gradients are summed after the last backward pass, and nothing is hidden behind it"),
        ("ramp-up", "one layout for a phase: its replicas divide every batch of the ramp-up"),
        ("no failures", "no job is lost, and none waits in the queue"),
        *((name, f"{value.value:g} {value.unit}: {value.source}") for name, value in constants),
        (
            "energy",
            f"{_range(plan.kilowatts, '.2f')} kWh a GPU hour with its share of the node, measured by the cluster's "
            f"accounting in the trainings of Luciole; {_range(plan.grams, '.0f')} g CO2e a kWh: the grid's operator, "
            "and the extremes of three sources (data/records/input/luciole_consumption.csv)",
        ),
        (
            "not seen",
            "networks that are shared, slow nodes, the reading of tokens, evaluation, what the authors' long sequences "
            "lost: the two short phases took much longer than the model says, and their upper bound is that",
        ),
    ]


MEASUREMENTS = [
    (
        "launching",
        "50 steps of the recipe's layer shape with and without CUDA_LAUNCH_BLOCKING=1: does the host keep up?",
    ),
    ("matrix products", "the same on one GPU with 8 layers, and micro-batches of 1, 2, 4: the share of the peak"),
    ("tensor parallelism", "the same on 2 and 4 GPUs of the node: NVLink's share"),
    ("memory", "the peak of each, against the table above"),
    ("two nodes", "an all-reduce of 1 GB between two nodes, on 1 and on 4 GPUs of each: the speed of a link"),
    ("checkpoint", "one written to $SCRATCH and read again: the speed, and its files"),
]


def _speed(option: Option) -> list[str]:
    main = option.phases[0]
    return [
        option.name,
        str(main.layout.gpus),
        f"{_range(main.step, '.2f')} s",
        f"{main.tokens_per_gpu_second:,.0f}",
        f"{main.utilisation:.0%}",
        f"{main.waiting:.2f} s",
    ]


def _split(options: list[Option]) -> list[list[str]]:
    """One row a part of a step, one column an option."""
    columns = []
    for main in (option.phases[0] for option in options):
        times = main.slowness.by_name(main.parts)
        columns.append({**times, "slow steps": main.step.value - sum(times.values())})
    return [[name, *(f"{1000 * times.get(name, 0.0):,.0f}" for times in columns)] for name in columns[0]]


def _memory(options: list[Option]) -> list[list[str]]:
    """One row a layout and phase; a phase that needs what the one before does has none."""
    rows: list[list[str]] = []
    for option in options:
        for phase in option.phases:
            terms = [*asdict(phase.memory).values(), phase.memory.total]
            cells = [f"{term / 1e9:.1f}" for term in terms]
            if not rows or rows[-1][2:] != cells:
                rows.append([option.name, phase.phase, *cells])
    return rows


def _cost(plan: Plan, option: Option) -> list[str]:
    return [
        option.name,
        _range(option.gpu_hours, ",.0f"),
        f"{option.gpu_hours.value / plan.published_hours:.0%}",
        _range(option.days, ".0f"),
        str(option.jobs),
        _range(plan.energy(option) * 1e-3, ".0f"),
        _range(plan.tonnes(option), ".1f"),
    ]


def _believe(plan: Plan) -> None:
    out.print()
    if widest := plan.widest():
        share = widest.gpu_hours.value / plan.published_hours
        line("the aim", f"{AIM:.0%} of the peak or more: {widest.name}, {share:.0%} of the authors' GPU hours")
    else:
        line("the aim", f"{AIM:.0%} of the peak is predicted for none of these")
    reached = ", ".join(f"{name} {share:.0%}" for name, share in plan.elsewhere.items())
    line("others", f"reached on such GPUs in whole trainings, maybe with products in 8 bits: {reached}")
    hours = " to ".join(f"{hours:,.0f}" for hours in plan.hours_as_elsewhere())
    line("as they did", f"this training takes {hours} GPU hours: what a grant should not be below")


def _storage(plan: Plan) -> None:
    tokens = f"{plan.token_bytes / 1e12:.2f} TB in {plan.token_files} files"
    line("token files", f"{tokens}, without the documents' ids; {_where(plan, plan.token_bytes, plan.token_files)}")
    line("checkpoints", "all that are written; a run needs the last two, and the others can be packed and stored")
    for option in plan.options:
        size, files = option.checkpoint_bytes, option.checkpoint_files
        count = sum(phase.checkpoints for phase in option.phases)
        each = f"{count} checkpoints of {option.phases[0].checkpoint_bytes / 1e9:.0f} GB"
        line(option.name, f"{each}: {size / 1e12:.1f} TB in {files:,} files; {_where(plan, size, files)}")


def _where(plan: Plan, size: float, files: int) -> str:
    return "; ".join(_fits(storage, size, files) for storage in plan.site.storage.values() if storage.bytes)


def _fits(storage: Storage, size: float, files: int) -> str:
    over = [
        what
        for what, need, there in (("bytes", size, storage.bytes), ("inodes", files, storage.inodes))
        if need > there
    ]
    return f"${storage.variable}: " + (f"too many {' and '.join(over)}" if over else "fits")


def _factors(slowness: Slowness) -> str:
    return (
        f"matrix products reach {1 / slowness.matrix:.0%} of the peak, NVLink {1 / slowness.nvlink:.0%}, a network "
        f"link {1 / slowness.link:.0%}; a layer's pass waits {1000 * slowness.launch:.1f} ms for its kernels"
    )


def _errors(test: Test) -> list[str]:
    return [
        str(len(test.trials)),
        f"{test.median_error:.1%}",
        f"{test.errors.max():.0%}",
        f"{test.rank_correlation:.3f}",
    ]


def _against(measured: float, predicted: float, model: Model) -> str:
    error = abs(predicted / measured - 1)
    if error <= TARGET:
        return f"{predicted:.2f} s a step predicted, {measured:.2f} s measured: {error:.0%} off"
    low, high = model.interval(predicted)
    return (
        f"missed: {measured:.1f} s measured, {low:.1f} to {high:.1f} s predicted. What the model does not see makes "
        f"{measured / predicted:.1f} times"
    )


def _range(number: Range, form: str) -> str:
    return f"{number.value:{form}} [{number.low:{form}}, {number.high:{form}}]"


def _title(text: str) -> None:
    out.print(f"\n[bold]{text}[/]")


def _rows(headers: list[str], rows: list[list[str]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)
