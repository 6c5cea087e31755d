"""Each example trains an export, says that it learned, and saves what its library loads."""

from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from examples.scripts import FineTune, learned

# Warnings of other libraries are no failures here.
pytestmark = pytest.mark.filterwarnings("default")

QUERY = "why do ships float"
ANSWERS = [
    "A hull displaces as much water as the whole ship weighs.",
    "They purr when they are at ease, and some when they are ill.",
]


def test_dense_learns_which_text_answers_a_query(fine_tune: FineTune) -> None:
    few = ["--max-steps", 8, "--learning-rate", 0.001]
    out, printed = fine_tune("dense", "encoder", *few)
    before, after = learned(printed)
    assert after < before / 2
    model = SentenceTransformer(str(out))
    assert model.max_seq_length == 400
    assert model[1].pooling_mode == "mean"
    right, wrong = model.similarity(model.encode(QUERY), model.encode(ANSWERS))[0]
    assert right > wrong + 0.1
    # What a batch is padded with is not embedded.
    alone, beside = model.encode(QUERY), model.encode([QUERY, " ".join(ANSWERS * 9)])[0]
    assert alone == pytest.approx(beside, abs=1e-5)


@pytest.mark.parametrize("lora", [[], ["--lora"]])
def test_sft_learns_to_complete(lora: list[str], exports: Path, fine_tune: FineTune) -> None:
    few = ["--max-steps", 8, "--batch-size", 12, "--learning-rate", 0.01]
    out, printed = fine_tune("sft", "decoder", *few, *lora)
    before, after = learned(printed)
    assert after < before - 0.2
    assert (out / "adapter_config.json").exists() == bool(lora)
    tokenizer = AutoTokenizer.from_pretrained(out)
    prompt = tokenizer("What is the plural of box?", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(out)
    base = AutoModelForCausalLM.from_pretrained(exports / "decoder")
    continued = model.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert not torch.equal(continued, base.generate(**prompt, max_new_tokens=5, do_sample=False))


def test_sparse_learns_weights_of_words(fine_tune: FineTune) -> None:
    few = ["--max-steps", 6, "--learning-rate", 0.001]
    out, printed = fine_tune("sparse", "encoder", *few)
    before, after = learned(printed)
    assert after < before * 0.8
    model = SparseEncoder(str(out))
    assert model.max_seq_length == 400
    assert model.encode(ANSWERS).shape == (2, 50_368)


def test_reranker_learns_to_score_answers(fine_tune: FineTune) -> None:
    few = ["--max-steps", 40, "--negatives", 2, "--batch-size", 27, "--learning-rate", 0.003]
    out, printed = fine_tune("reranker", "encoder", *few)
    before, after = learned(printed)
    assert after < before * 0.7
    model = CrossEncoder(str(out))
    assert model.max_seq_length == 400
    assert model.predict([(QUERY, answer) for answer in ANSWERS]).shape == (2,)


def test_classification_learns_labels(fine_tune: FineTune) -> None:
    few = ["--max-steps", 12, "--learning-rate", 0.001]
    out, printed = fine_tune("classification", "encoder", *few)
    before, after = learned(printed)
    assert after > max(before, 0.9)
    classify = pipeline("text-classification", str(out))
    assert [one["label"] for one in classify(["The bread is wonderful.", "A dull film."])] == [
        "good",
        "bad",
    ]


@pytest.mark.parametrize(
    ("task", "fields", "label", "held_out"),
    [
        ("stsb", ["sentence1", "sentence2"], Value("float32"), "validation"),
        ("mnli", ["premise", "hypothesis"], ClassLabel(num_classes=3), "validation_matched"),
        ("cola", ["sentence"], ClassLabel(num_classes=2), "validation"),
    ],
)
def test_a_task_of_glue_is_measured_on_its_validation_split(
    task: str,
    fields: list[str],
    label: Value | ClassLabel,
    held_out: str,
    fine_tune: FineTune,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = Features(dict.fromkeys(fields, Value("string")) | {"label": label})
    rows = Dataset.from_dict(
        {**{name: ["A boat.", "A cat.", "A hull."] for name in fields}, "label": [0, 1, 1]},
        features=features,
    )
    splits = DatasetDict({"train": rows, held_out: rows.select([0, 1])})
    monkeypatch.setattr("datasets.load_dataset", lambda name, config: splits)
    out, printed = fine_tune("classification", "encoder", "--data", task)
    measured = {"stsb": "spearman", "mnli": "accuracy", "cola": "matthews"}[task]
    last = printed.splitlines()[-1]
    assert last.startswith(f"{out}: {measured} ")
    assert last.endswith(" on 2 rows of the validation split")
