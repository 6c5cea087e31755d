"""mteb embeds by an export, and lm-eval scores and continues by one.

Needs what `tests/examples/setup.sh FOLDER` makes:
`ETTIN_EXAMPLES=FOLDER python -m pytest -m oracle`.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples import environments
from examples.scripts import EXAMPLES, run

pytestmark = [*environments.needed, pytest.mark.filterwarnings("default")]


def ndcg(model: Path) -> float:
    pairs = EXAMPLES / "data" / "pairs.jsonl"
    return float(
        environments.run(
            "evaluation", "python", "tests/examples/mteb_run.py", model, pairs
        ).splitlines()[-1]
    )


def test_mteb_finds_more_answers_once_an_export_is_trained(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--max-steps", 8, "--learning-rate", 0.001]
    run(monkeypatch, "dense", exports / "encoder", "--out", tmp_path / "out", *few)
    assert ndcg(exports / "encoder") < 0.6
    assert ndcg(tmp_path / "out") > 0.9


def lm_eval(model: Path, task: str, out: Path) -> tuple[dict[str, float], dict[str, object]]:
    """Return the results of a task, and its first sample."""
    environments.run(
        *["evaluation", "lm-eval", "run", "--model", "hf", "--device", "cpu"],
        *["--model_args", f"pretrained={model},dtype=float32,add_bos_token=True"],
        *["--include_path", "tests/examples/tasks", "--tasks", task, "--batch_size", 4],
        *["--log_samples", "--output_path", out],
    )
    (results,) = out.rglob("results_*.json")
    (samples,) = out.rglob("samples_*.jsonl")
    first = json.loads(samples.read_text().splitlines()[0])
    return json.loads(results.read_text())["results"][task], first


def log_likelihood(model: Path, context: str, continuation: str) -> float:
    """The same by hand: the context begins with `[CLS]`, and nothing ends it."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    start = len(tokenizer(context).input_ids)
    ids = torch.tensor([tokenizer(context + continuation).input_ids])
    assert ids[0, 0] == tokenizer.bos_token_id
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(ids).logits.log_softmax(-1)
    return logits[0, start - 1 : -1].gather(1, ids[0, start:, None]).sum().item()


def test_lm_eval_scores_choices(exports: Path, tmp_path: Path) -> None:
    model = exports / "decoder"
    results, first = lm_eval(model, "ettin_labels", tmp_path)
    assert 0 <= results["acc,none"] <= 1
    context = f"{first['doc']['text']} It is"
    scored = [float(one[0][0]) for one in first["resps"]]
    expected = [log_likelihood(model, context, choice) for choice in (" good", " bad")]
    assert scored == pytest.approx(expected, abs=2e-5)


def test_lm_eval_continues_prompts(exports: Path, tmp_path: Path) -> None:
    model = exports / "decoder"
    results, first = lm_eval(model, "ettin_prompts", tmp_path)
    assert 0 <= results["exact_match,none"] <= 1
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer(first["doc"]["prompt"], return_tensors="pt")
    decoder = AutoModelForCausalLM.from_pretrained(model)
    ids = decoder.generate(**prompt, max_new_tokens=12, do_sample=False)[0]
    expected = tokenizer.decode(ids[prompt.input_ids.shape[1] :], skip_special_tokens=True)
    assert first["resps"] == [[expected.split("\n")[0]]]
