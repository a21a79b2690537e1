"""The file of a study survives a killed process, and other files are refused."""

import json
import math
import os

import optuna
import pytest

from numpy_neural_mf.tuning.study import finished_trials, next_trial, open_study, validation_rmse

SPACE = {"learning_rate": optuna.distributions.FloatDistribution(0.001, 1.0, log=True)}
DEFAULTS = {"learning_rate": 0.03}


def with_trials(path, values):
    """Return a study whose trials have these results."""
    study = open_study(path, "this", 0, SPACE)
    for value in values:
        study.tell(next_trial(study, SPACE, DEFAULTS, 0), value)
    return study


def reopened(path):
    return open_study(path, "this", 0, SPACE)


def test_results_are_in_the_file(tmp_path):
    with_trials(tmp_path / "study", [1.5, 1.0, math.inf])
    trials = finished_trials(reopened(tmp_path / "study"))
    assert [validation_rmse(trial) for trial in trials] == [1.5, 1.0, math.inf]
    assert trials[0].params == DEFAULTS


def test_a_trial_without_a_result_does_not_count_and_is_repeated(tmp_path):
    study = with_trials(tmp_path / "study", [1.5, 1.0])
    cut_off = next_trial(study, SPACE, DEFAULTS, 0)
    study = reopened(tmp_path / "study")
    assert len(finished_trials(study)) == 2
    assert next_trial(study, SPACE, DEFAULTS, 0).params == cut_off.params


@pytest.mark.parametrize("is_drawn", [True, False])
def test_defaults_without_a_result_come_first_again(tmp_path, is_drawn):
    study = with_trials(tmp_path / "study", [])
    study.enqueue_trial(DEFAULTS)
    if is_drawn:
        study.ask(SPACE)
    study = reopened(tmp_path / "study")
    first, second = (next_trial(study, SPACE, DEFAULTS, 0) for _ in range(2))
    assert first.params == DEFAULTS
    study.tell(first, 1.0)
    study = reopened(tmp_path / "study")
    assert next_trial(study, SPACE, DEFAULTS, 0).params != DEFAULTS
    assert second.number > first.number


def test_each_trial_has_other_settings():
    drawn = [trial.params["learning_rate"] for trial in finished_trials(with_trials(None, [1.0] * 6))]
    assert len(set(drawn)) == 6


def test_a_pruned_trial_has_no_error_to_compare():
    study = with_trials(None, [1.0])
    trial = next_trial(study, SPACE, DEFAULTS, 0)
    trial.report(0.5, 1)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert [validation_rmse(trial) for trial in finished_trials(study)] == [1.0, math.inf]


def test_an_incomplete_last_line_loses_only_its_own_result(tmp_path):
    path = tmp_path / "study"
    with_trials(path, [1.5, 1.0])
    whole = path.read_bytes()
    last = whole[: whole[:-1].rindex(b"\n") + 1]
    for n_bytes in range(len(last) + 1, len(whole), 9):
        path.write_bytes(whole[:n_bytes])
        assert len(finished_trials(reopened(path))) == 1
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("content", [b"userId,movieId\n1,2\n", b"no newline", b"\xff" * 9, b'{"a": 1}\n'])
def test_another_file_is_refused_and_left_as_it_is(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="expected a study, found another kind of file"):
        reopened(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("line", [b"damaged\n", b'{"op_code":99}\n', b"{}\n", b"[]\n"])
def test_a_damaged_study_is_refused(tmp_path, line):
    path = tmp_path / "study"
    with_trials(path, [1.0])
    path.write_bytes(path.read_bytes() + line + path.read_bytes())
    with pytest.raises(ValueError, match="expected a study, found one that is damaged"):
        reopened(path)


def test_the_study_of_another_search_is_refused(tmp_path):
    with_trials(tmp_path / "study", [1.0])
    with pytest.raises(ValueError, match="other ratings or settings; name another file"):
        open_study(tmp_path / "study", "that", 0, SPACE)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OSError, match=str(tmp_path)):
        reopened(tmp_path)


def test_the_verbosity_of_optuna_is_restored(capfd):
    before = optuna.logging.get_verbosity()
    with_trials(None, [1.0])
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "study")
    with pytest.raises(OSError, match="expected a file, found a folder, a pipe or a device"):
        reopened(tmp_path / "study")


def test_a_distribution_of_brackets_is_refused(tmp_path):
    path = tmp_path / "study"
    with_trials(path, [1.0])
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        if "distribution" in line:
            line["distribution"] = "[" * 100_000
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(ValueError, match="expected a study, found one that is damaged"):
        reopened(path)


def test_trials_of_another_space_are_refused(tmp_path):
    path = tmp_path / "study"
    with_trials(path, [1.0])
    whole = path.read_text()
    for old, new in (("learning_rate", "learning_race"), ("FloatDistribution", "IntDistribution")):
        assert old in whole
        path.write_text(whole.replace(old, new))
        with pytest.raises(ValueError, match="expected a study, found one that is damaged"):
            reopened(path)
