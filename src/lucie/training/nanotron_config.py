"""The file that nanotron 0.4 reads for one of the successive runs of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucie.training.recipe import Recipe, Run


def nanotron_config(recipe: Recipe, run: Run, seed: int, checkpoints: Path, resume: Path | None) -> dict[str, Any]:
    """nanotron's configuration of a run, as YAML writes it.

    ``resume`` is the checkpoint to begin from. Three things our trainer adds, for want of a word in nanotron's file:
    RoPE's theta, whether activations are computed again, and the learning rate of every step, which follows the
    samples read (`Recipe.learning_rate_at`); the file has the rate at its peak.
    """
    phase, shape, optimizer = recipe.phase(run.phase), recipe.architecture, recipe.optimizer
    layout = phase.parallelism
    length = recipe.mix.phase(run.phase).sequence_length
    return {
        "general": {"project": "lucie", "run": recipe.name, "seed": seed, "ignore_sanity_checks": True},
        "model": {
            "dtype": recipe.precision,
            "init_method": {"std": shape.initializer_range},
            "make_vocab_size_divisible_by": 1,
            "model_config": {
                **shape.model_dump(exclude={"initializer_range"}),
                "hidden_act": "silu",
                "max_position_embeddings": length,
                "tie_word_embeddings": False,
            },
        },
        "optimizer": {
            "adam_beta1": optimizer.beta1,
            "adam_beta2": optimizer.beta2,
            "adam_eps": optimizer.epsilon,
            "torch_adam_is_fused": False,
            "weight_decay": optimizer.weight_decay,
            "clip_grad": optimizer.gradient_clipping,
            "zero_stage": layout.zero_stage,
            "accumulate_grad_in_fp32": recipe.precision != "float32",
            "learning_rate_scheduler": {
                "learning_rate": phase.learning_rate,
                "lr_warmup_style": "constant",
                "lr_decay_style": "linear",
                "min_decay_lr": phase.learning_rate,
            },
        },
        "parallelism": {
            "dp": layout.data,
            "tp": layout.tensor,
            "pp": layout.pipeline,
            "pp_engine": "1f1b",
            "tp_mode": "ALL_REDUCE",
            "tp_linear_async_communication": False,
        },
        "tokens": {
            "sequence_length": length,
            "train_steps": run.last_step,
            "micro_batch_size": phase.micro_batch,
            "batch_accumulation_per_replica": run.batch // (phase.micro_batch * layout.data),
        },
        "checkpoints": {
            "checkpoints_path": str(checkpoints),
            "checkpoint_interval": phase.checkpoint_every,
            "checkpoints_path_is_shared_file_system": True,
            "resume_checkpoint_path": str(resume) if resume else None,
        },
        "logging": {"log_level": "warning", "log_level_replica": "warning", "iteration_step_info_interval": 1},
        "tokenizer": {},
    }
