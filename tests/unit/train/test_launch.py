"""What is read out of the environments that launchers make."""

from __future__ import annotations

from pathlib import Path

import pytest

from visiglot.errors import ConfigError
from visiglot.train.launch import PORTS, Launch, detect_launch, first_node, refuse_accelerates_own, refuse_misfits

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "gpu07", "MASTER_PORT": "29400", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "41234", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_NTASKS": "7", "SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_TASKS_PER_NODE": "4,3", "SLURM_NNODES": "2",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
}  # fmt: skip

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
DEEPSPEED = {
    "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
}  # fmt: skip


def test_nothing_set_is_one_process() -> None:
    assert detect_launch({}) == Launch("python")
    assert list(detect_launch({}).lines()) == ["started by python: one process"]


def test_torchrun_says_who_and_where() -> None:
    found = detect_launch(dict(TORCHRUN))
    assert found == Launch("torchrun", 3, 4, 1, 2, "gpu07:29400")
    assert list(found.lines()) == [
        "started by torchrun: process 3 of 4, 2 of them on this machine, meeting at gpu07:29400"
    ]


def test_accelerate_launch_is_told_from_torchrun() -> None:
    assert detect_launch({**TORCHRUN, "ACCELERATE_MIXED_PRECISION": "no"}).by == "accelerate launch"
    assert detect_launch({"ACCELERATE_MIXED_PRECISION": "no"}) == Launch("accelerate launch")


def test_sruns_variables_become_torchruns() -> None:
    environment = dict(SRUN)
    found = detect_launch(environment)
    port = str(PORTS[41234 % len(PORTS)])
    assert found == Launch("srun", 5, 7, 1, 3, f"gpu07:{port}")
    set_ = {key: environment[key] for key in environment if not key.startswith("SLURM")}
    assert set_ == {
        "RANK": "5", "WORLD_SIZE": "7", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3",
        "MASTER_ADDR": "gpu07", "MASTER_PORT": port,
    }  # fmt: skip
    assert detect_launch(environment) == found


def test_where_processes_meet_may_be_said_beforehand() -> None:
    environment = {**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    assert detect_launch(environment).meet == "10.0.0.1:1234"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu07,gpu09", "gpu07"),
        ("gpu[007-010,012]", "gpu007"),
        ("gpu[12,3-4],cpu1", "gpu12"),
        ("rack[1-2]n[05-06]", "rack1n05"),
        ("a-b[3-9].cluster,c", "a-b3.cluster"),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_job_without_srun_is_one_process_and_says_so() -> None:
    # a batch script's own shell has the job's variables, and whoever waited for the other tasks would wait for ever
    environment = {key: value for key, value in SRUN.items() if "STEP" not in key} | {"SLURM_PROCID": "0"}
    found = detect_launch(environment)
    assert found.processes == 1
    assert "7 tasks, but srun didn't start this process" in found.notes[0]
    assert "RANK" not in environment


def test_torchrun_in_one_task_a_machine_is_torchruns() -> None:
    environment = {**TORCHRUN, "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}
    assert detect_launch(environment).by == "torchrun"
    alone = {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "GROUP_WORLD_SIZE": "1"}
    in_a_batch_script = {**alone, "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
    assert detect_launch(in_a_batch_script).processes == 2


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is set, RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT isn't"),
        ({**TORCHRUN, "MASTER_ADDR": ""}, "MASTER_ADDR isn't"),
        ({**TORCHRUN, "RANK": "4"}, "RANK is 4 with WORLD_SIZE 4"),
        ({**TORCHRUN, "RANK": "first"}, "RANK is 'first', not a number"),
        ({**TORCHRUN, "LOCAL_RANK": "2"}, "LOCAL_RANK 2, LOCAL_WORLD_SIZE 2 and WORLD_SIZE 4"),
        (
            {**TORCHRUN, "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"},
            "srun started 8 tasks, and in each torchrun a run of 4 processes",
        ),
        ({**SRUN, "RANK": "0"}, "RANK is 0, and 5 by SLURM's variables"),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "2"}, "SLURM_NTASKS is 7, of the step"),
        ({**SRUN, "SLURM_PROCID": "7"}, "SLURM_PROCID 7, SLURM_LOCALID 1 and SLURM_NTASKS 7"),
        ({**SRUN, "SLURM_JOB_NODELIST": ""}, "neither MASTER_ADDR nor SLURM_JOB_NODELIST"),
        ({"ACCELERATE_USE_FSDP": "true"}, "FSDP, version 1, is set"),
        ({**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, "OFFLOAD_PARAMS is true: weights on another"),
        ({**FSDP, "FSDP_ACTIVATION_CHECKPOINTING": "true"}, "train.gradient_checkpointing"),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "1"}, "ZeRO stage 1, is set .* offered are 2 and 3"),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_CONFIG_FILE": "ds.json"}, "CONFIG_FILE is ds.json: here the recipe says"),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu"}, "PARAM_DEVICE is cpu: weights on another"),
        ({**DEEPSPEED, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8"}, "ACCUMULATION_STEPS is 8: .* batch.accumulate"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "mixed precision fp16"),
    ],
)
def test_what_does_not_fit_together_is_an_error_with_a_hint(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        detect_launch(dict(environment))
    assert caught.value.hint


def test_one_device_for_all_and_other_numbers_of_processes_are_refused() -> None:
    refuse_misfits(Launch("torchrun", 0, 2), "cuda", 2, "ddp")
    with pytest.raises(ConfigError, match="cuda:1 for each of 2"):
        refuse_misfits(Launch("torchrun", 0, 2), "cuda:1", 2, "ddp")
    with pytest.raises(ConfigError, match="python started 1 of them, and PyTorch found 4"):
        refuse_misfits(Launch("python"), "auto", 4, "ddp")


def test_accelerate_may_be_told_of_deepspeed_if_the_recipe_says_the_same() -> None:
    found = detect_launch({**TORCHRUN, **DEEPSPEED, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"})
    assert (found.by, found.processes, found.sharding) == ("accelerate launch", 4, "zero3")
    refuse_misfits(found, "auto", 4, "zero3")
    with pytest.raises(ConfigError, match=r"what is zero3 here, and train\.sharding is ddp") as caught:
        refuse_misfits(found, "auto", 4, "ddp")
    assert "train.sharding=zero3" in str(caught.value.hint)
    assert detect_launch({**TORCHRUN, **DEEPSPEED}).sharding == "zero2"  # accelerate's default
    assert detect_launch(dict(TORCHRUN)).sharding == ""


def test_accelerate_may_be_told_of_fsdp_if_the_recipe_says_the_same() -> None:
    found = detect_launch({**TORCHRUN, **FSDP, "ACCELERATE_MIXED_PRECISION": "bf16"})
    assert (found.by, found.sharding) == ("accelerate launch", "fsdp2")
    refuse_misfits(found, "auto", 4, "fsdp2")
    with pytest.raises(ConfigError, match=r"what is fsdp2 here, and train\.sharding is ddp"):
        refuse_misfits(found, "auto", 4, "ddp")


def test_accelerate_launch_says_fsdp_by_the_variables_that_are_read() -> None:
    from accelerate.commands.launch import launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    words = ["--use_fsdp", "--fsdp_version", "2", "--num_processes", "2", "--num_machines", "1", "train.py"]
    asked = launch_command_parser().parse_args(words)
    asked.mixed_precision, asked.dynamo_backend = "no", "no"  # what the command fills in
    found = prepare_multi_gpu_env(asked)
    assert {name: found[name] for name in FSDP} == FSDP
    refuse_accelerates_own(found)


def test_deepspeeds_launcher_says_who_and_where() -> None:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    found = detect_launch({**{name: TORCHRUN[name] for name in names}, "LOCAL_SIZE": "2", "CROSS_SIZE": "2"})
    assert found == Launch("deepspeed", 3, 4, 1, 2, "gpu07:29400")


def test_accelerates_configuration_has_processes_and_machines_and_nothing_that_is_refused(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = tmp_path / "accelerate.yaml"
    path.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 2\nnum_processes: 16\n"
        "machine_rank: 0\nmain_process_ip: gpu07\nmain_process_port: 29500\nmixed_precision: 'no'\nuse_cpu: false\n",
        encoding="utf-8",
    )
    found = load_config_from_file(str(path))
    assert (found.num_machines, found.num_processes, found.main_process_ip) == (2, 16, "gpu07")
    assert found.fsdp_config == found.deepspeed_config == {}
    refuse_accelerates_own({"ACCELERATE_MIXED_PRECISION": str(found.mixed_precision)})
