"""Who started this process, and beside how many others: read from the environment, which launchers fill.

    python      nothing is set: one process
    torchrun    RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, TORCHELASTIC_RUN_ID
    accelerate  the same, through torchrun, and ACCELERATE_MIXED_PRECISION; those alone for one process
    deepspeed   the same but for the last, and LOCAL_SIZE in place of LOCAL_WORLD_SIZE
    srun        SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, SLURM_STEP_ID and the list of nodes, from which what torchrun
                would have set is worked out. A job's own shell has all of these but SLURM_STEP_ID.

What the launchers say is checked against each other: most of what goes wrong here otherwise ends in a wait without end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Literal

from visiglot.errors import ConfigError

Launcher = Literal["python", "torchrun", "accelerate launch", "deepspeed", "srun"]

WORLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""What each of several processes has to know; torchrun sets it."""
PORTS = range(20_000, 40_000)
"""Where processes of a SLURM job meet: one by the job's number, so that two jobs on a machine don't."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One of the processes of a run.

    Args:
        by: what started it.
        rank: of this process, from 0.
        processes: of the run.
        local_rank: of this process among those of its machine.
        local_processes: of its machine; None where nobody says.
        meet: host and port where they find each other; "" for one process.
        notes: what is worth a line beside that.
        sharding: `train.sharding` by what accelerate was told of FSDP or DeepSpeed; "" where it wasn't.
    """

    by: Launcher
    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int | None = 1
    meet: str = ""
    notes: tuple[str, ...] = ()
    sharding: str = ""

    def lines(self) -> Iterator[str]:
        """What was found, for people."""
        if self.processes == 1:
            yield f"started by {self.by}: one process"
        else:
            here = "" if self.local_processes is None else f", {self.local_processes} of them on this machine"
            yield f"started by {self.by}: process {self.rank} of {self.processes}{here}, meeting at {self.meet}"
        yield from self.notes


def detect_launch(environment: MutableMapping[str, str] | None = None) -> Launch:
    """Find out who started this process, and set what torchrun would have set where SLURM did.

    Args:
        environment: default: that of the process.

    Raises:
        ConfigError: what the launchers say of this process doesn't fit together.
    """
    environment = os.environ if environment is None else environment
    refuse_accelerates_own(environment)
    return replace(_detect(environment), sharding=_sharding_of(environment))


def _detect(environment: MutableMapping[str, str]) -> Launch:
    tasks = _number(environment, "SLURM_NTASKS", 1)
    of_srun = tasks > 1 and "SLURM_PROCID" in environment and "SLURM_STEP_ID" in environment
    if of_srun and "TORCHELASTIC_RUN_ID" not in environment:
        return _of_slurm(environment, tasks)
    if any(environment.get(name) for name in WORLD):
        return _of_torchrun(environment)
    if tasks > 1 and "SLURM_PROCID" in environment:
        note = f"the SLURM job has {tasks} tasks, but srun didn't start this process, so it trains alone"
        return Launch(_single(environment), notes=(note,))
    return Launch(_single(environment))


def refuse_misfits(launch: Launch, device: str, found: int, sharding: str) -> None:
    """Raises ConfigError: the processes can't all have `device`, aren't as many as PyTorch found, or accelerate was
    told of another way to share the model than `sharding`."""
    if launch.sharding not in ("", sharding):
        raise ConfigError(
            "accelerate launch",
            [f"accelerate's configuration asks for what is {launch.sharding} here, and train.sharding is {sharding}"],
            hint=f"Put train.sharding={launch.sharding} into the recipe, or leave it out of that configuration.",
        )
    if launch.processes > 1 and device.startswith("cuda:"):
        raise ConfigError(
            "launch", [f"--device {device} for each of {launch.processes} processes"], hint="Leave --device out."
        )
    if launch.processes != found:
        raise ConfigError(
            "launch",
            [f"{launch.by} started {launch.processes} of them, and PyTorch found {found} processes"],
            hint="Start with torchrun, accelerate launch or srun, and with nothing around it (mpirun).",
        )


def refuse_accelerates_own(environment: Mapping[str, str]) -> None:
    """Raises ConfigError: `accelerate launch` was told to do what a recipe says, or what it can't."""
    problems: list[str] = []
    if _asked(environment, "ACCELERATE_USE_FSDP"):
        problems += _problems_of_fsdp(environment)
    if _asked(environment, "ACCELERATE_USE_DEEPSPEED"):
        problems += _problems_of_deepspeed(environment)
    if environment.get("ACCELERATE_MIXED_PRECISION", "no") not in ("no", "bf16"):
        found = environment["ACCELERATE_MIXED_PRECISION"]
        problems.append(f"mixed precision {found} is set in accelerate's configuration; only bf16 is offered")
    if problems:
        hint = (
            "Give accelerate launch processes and machines only (`accelerate launch --multi_gpu`), the rest the recipe."
        )
        raise ConfigError("accelerate launch", problems, hint=hint)


OURS = {
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": "here the recipe says what would stand in that file",
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "an optimiser on another device isn't offered",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "weights on another device aren't offered",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "here it is batch.accumulate of the recipe's stages",
    "ACCELERATE_GRADIENT_CLIPPING": "here it is clip of the recipe's stages",
}
"""What accelerate may be told for DeepSpeed beside the stage, and why a recipe doesn't take it from there."""


def _problems_of_deepspeed(environment: Mapping[str, str]) -> Iterator[str]:
    for name, why in OURS.items():
        if environment.get(name, "none").lower() not in ("", "none", "auto", "1"):
            yield f"{name} is {environment[name]}: {why}"
    stage = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    if stage not in ("2", "3"):
        yield f"DeepSpeed, ZeRO stage {stage}, is set in accelerate's configuration; offered are 2 and 3"


def _problems_of_fsdp(environment: Mapping[str, str]) -> Iterator[str]:
    if (version := environment.get("FSDP_VERSION", "1")) != "2":
        yield f"FSDP, version {version}, is set in accelerate's configuration; offered is 2 (--fsdp_version 2)"
    if _asked(environment, "FSDP_OFFLOAD_PARAMS"):
        yield "FSDP_OFFLOAD_PARAMS is true: weights on another device aren't offered"
    if _asked(environment, "FSDP_ACTIVATION_CHECKPOINTING"):
        yield "FSDP_ACTIVATION_CHECKPOINTING is true: here it is train.gradient_checkpointing of the recipe"


def _sharding_of(environment: Mapping[str, str]) -> str:
    """What `train.sharding` is to be by accelerate's configuration; "" where that doesn't say."""
    if _asked(environment, "ACCELERATE_USE_DEEPSPEED"):
        return f"zero{_number(environment, 'ACCELERATE_DEEPSPEED_ZERO_STAGE', 2)}"
    return "fsdp2" if _asked(environment, "ACCELERATE_USE_FSDP") else ""


def _asked(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() == "true"


def _of_torchrun(environment: MutableMapping[str, str]) -> Launch:
    by: Launcher = "torchrun"
    if "ACCELERATE_MIXED_PRECISION" in environment:
        by = "accelerate launch"
    elif "LOCAL_SIZE" in environment and "LOCAL_WORLD_SIZE" not in environment:
        by = "deepspeed"
    missing = [name for name in (*WORLD, "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if missing:
        there = ", ".join(name for name in WORLD if environment.get(name))
        raise ConfigError(
            "launch",
            [f"{there} is set, {', '.join(missing)} isn't"],
            hint="Start with torchrun, accelerate launch or srun, which set all; or unset them for one process.",
        )
    rank, processes, local_rank = (_number(environment, name) for name in WORLD)
    local = _number(environment, "LOCAL_SIZE" if by == "deepspeed" else "LOCAL_WORLD_SIZE", 0) or None
    problems = []
    if rank >= processes:
        problems.append(f"RANK is {rank} with WORLD_SIZE {processes}; ranks count from 0")
    if local is not None and not local_rank < local <= processes:
        problems.append(
            f"LOCAL_RANK {local_rank}, LOCAL_WORLD_SIZE {local} and WORLD_SIZE {processes} don't fit together"
        )
    machines = _number(environment, "GROUP_WORLD_SIZE", 1)
    tasks = _number(environment, "SLURM_NTASKS", 1)
    if "SLURM_STEP_ID" in environment and tasks not in (1, machines):
        problems.append(
            f"srun started {tasks} tasks, and in each {by} a run of {processes} processes on {machines} machines"
        )
    if problems:
        hint = (
            "One launcher is enough: srun alone, a task a process; or srun with one task a machine and torchrun in it."
        )
        raise ConfigError("launch", problems, hint=hint)
    meet = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    return Launch(by, rank, processes, local_rank, local, meet)


def _of_slurm(environment: MutableMapping[str, str], tasks: int) -> Launch:
    rank, local_rank = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_LOCALID")
    of_step = _number(environment, "SLURM_STEP_NUM_TASKS", tasks)
    problems = []
    if of_step != tasks:
        problems.append(f"SLURM_NTASKS is {tasks}, of the step (SLURM_STEP_NUM_TASKS) {of_step}")
    if rank >= tasks or local_rank > rank:
        problems.append(f"SLURM_PROCID {rank}, SLURM_LOCALID {local_rank} and SLURM_NTASKS {tasks} don't fit together")
    ours = {"RANK": str(rank), "WORLD_SIZE": str(tasks), "LOCAL_RANK": str(local_rank)}
    problems += [
        f"{name} is {environment[name]}, and {value} by SLURM's variables"
        for name, value in ours.items()
        if environment.get(name, value) != value
    ]
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    if not environment.get("MASTER_ADDR") and not nodes:
        problems.append("neither MASTER_ADDR nor SLURM_JOB_NODELIST says where processes meet")
    if problems:
        hint = "Start with `srun --ntasks-per-node=N python -m visiglot train ...`, and set none of these by hand."
        raise ConfigError("srun", problems, hint=hint)
    local = _tasks_here(environment, tasks)
    port = PORTS[_number(environment, "SLURM_JOB_ID", 0) % len(PORTS)]
    environment.setdefault("MASTER_ADDR", first_node(nodes))
    environment.setdefault("MASTER_PORT", str(port))
    environment.update(ours)
    if local is not None:
        environment["LOCAL_WORLD_SIZE"] = str(local)
    meet = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    return Launch("srun", rank, tasks, local_rank, local, meet)


def first_node(nodes: str) -> str:
    """The first of SLURM's list of nodes: "gpu[07-09,12],cpu1" -> "gpu07"."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    assert first is not None
    return re.sub(r"\[([^,\-\]]*)[^\]]*\]", r"\1", first.group())


def _tasks_here(environment: Mapping[str, str], tasks: int) -> int | None:
    """Tasks on this machine: by its place in "4(x2),3"; None where nothing says it."""
    listed = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE", "")
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", listed):
        counts += [int(count)] * int(times or 1)
    place = _number(environment, "SLURM_NODEID", 0)
    if sum(counts) == tasks and place < len(counts):
        return counts[place]
    return tasks if _number(environment, "SLURM_NNODES", 0) == 1 else None


def _single(environment: Mapping[str, str]) -> Launcher:
    return "accelerate launch" if "ACCELERATE_MIXED_PRECISION" in environment else "python"


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Raises ConfigError: the variable isn't set and has no default, or is no number."""
    found = environment.get(name) or default
    try:
        assert found is not None
        return int(found)
    except (AssertionError, ValueError):
        said = "isn't set" if found is None else f"is {found!r}, not a number"
        raise ConfigError(
            "launch", [f"{name} {said}"], hint="Start with torchrun, accelerate launch or srun."
        ) from None
