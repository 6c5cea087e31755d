"""Trainers of other projects take an exported model as it is, and one step of them changes it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset
from sentence_transformers import (
    MultiVectorEncoder,
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
)
from sentence_transformers.multi_vector_encoder.losses import (
    MultiVectorMultipleNegativesRankingLoss,
)
from support.models import tiny
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from pipeline.config.recipe import ModelKind
from pipeline.stages.tokenizer import read_json
from pipeline.train.export import export_model
from pipeline.train.models import make_model

# Warnings of other libraries are no failures here.
pytestmark = pytest.mark.filterwarnings("default")

TEXTS = ["The boat left before the tide did.", "Nobody reads the tables but the cat.", "A B"]
KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of exported models by kind."""
    folder = tmp_path_factory.mktemp("exports")
    for kind in KINDS:
        spec = tiny(kind)
        model = make_model(spec, seed=5)
        export_model(model, spec, 400, read_json("modernbert"), folder / kind, {})
    return {kind: folder / kind for kind in KINDS}


def settings(out: Path) -> dict[str, Any]:
    """One step on the CPU, of a rate that float32 weights cannot miss."""
    return {
        "output_dir": str(out),
        "max_steps": 1,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "warmup_steps": 0,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def changes(trainer: Any) -> bool:
    """Train; whether the loss is a number and the embedding moved."""
    before = trainer.model.get_input_embeddings().weight.detach().clone()
    done = trainer.train()
    assert done.global_step == 1
    assert 0 < done.training_loss < 100
    return not torch.equal(before, trainer.model.get_input_embeddings().weight)


@pytest.mark.parametrize("kind", KINDS)
def test_trainer_continues_pretraining(
    kind: ModelKind, exports: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exports[kind])
    loader = AutoModelForCausalLM if kind == "decoder" else AutoModelForMaskedLM
    trainer = Trainer(
        model=loader.from_pretrained(exports[kind]),
        args=TrainingArguments(**settings(tmp_path)),
        train_dataset=[{"input_ids": tokenizer(text).input_ids} for text in TEXTS],
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=kind == "encoder", seed=1),
    )
    assert changes(trainer)


@pytest.mark.parametrize("kind", KINDS)
def test_trainer_learns_a_classification(
    kind: ModelKind, exports: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exports[kind])
    rows = [{**tokenizer(text), "label": n % 2} for n, text in enumerate(TEXTS)]
    trainer = Trainer(
        model=AutoModelForSequenceClassification.from_pretrained(exports[kind], num_labels=2),
        args=TrainingArguments(**settings(tmp_path)),
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    assert changes(trainer)


def test_trl_fine_tunes_a_decoder(exports: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"prompt": "Where is the boat?", "completion": f" {text}"} for text in TEXTS]
    trainer = trl.SFTTrainer(
        model=str(exports["decoder"]),
        args=trl.SFTConfig(**settings(tmp_path), bf16=False),
        train_dataset=Dataset.from_list(rows),
    )
    assert changes(trainer)


def test_sentence_transformers_trains_an_encoder_of_many_vectors(
    exports: dict[str, Path], tmp_path: Path
) -> None:
    """The fourth of its trainers; `tests/examples` have the other three."""
    model = MultiVectorEncoder(str(exports["encoder"]))
    before = model.encode_document(TEXTS[0])
    trainer = MultiVectorEncoderTrainer(
        model=model,
        args=MultiVectorEncoderTrainingArguments(**settings(tmp_path)),
        train_dataset=Dataset.from_dict({"query": TEXTS, "positive": TEXTS[::-1]}),
        loss=MultiVectorMultipleNegativesRankingLoss(model),
    )
    assert 0 < trainer.train().training_loss < 100
    after = model.encode_document(TEXTS[0])
    assert after.shape == before.shape
    assert not (after == before).all()
