"""Models are reloaded while the service runs."""

import os
from pathlib import Path

import pytest

from numpy_neural_mf import NeuralMF, load_model
from numpy_neural_mf.serving import ServerSettings
from numpy_neural_mf.serving.service import Service


@pytest.fixture
def path(folder, tmp_path):
    path = tmp_path / "films.safetensors"
    path.write_bytes((folder / "films.safetensors").read_bytes())
    return path


@pytest.fixture
def service(path):
    service = Service(ServerSettings((str(path),)))
    yield service
    service.store.close()


def test_a_replaced_file_is_loaded(service, path, ratings):
    before = service.find("films")
    service.reload()
    assert service.find("films") is before
    NeuralMF(embedding_dim=2, epochs=1).fit(ratings).save(path)
    service.reload()
    assert service.find("films").facts["n_parameters"] == load_model(path).n_parameters_
    assert before.model.n_parameters_ != load_model(path).n_parameters_


def test_a_model_answers_as_before_when_its_file_is_gone(service, path, ratings):
    before = service.find("films").model.predict(1, ratings.item_ids).tolist()
    old = service.find("films").model
    NeuralMF(embedding_dim=2, epochs=1).fit(ratings).save(path)
    service.reload()
    assert old.predict(1, ratings.item_ids).tolist() == before


def test_the_old_model_stays_in_use_if_the_new_file_cannot_be_read(service, path, caplog):
    before = service.find("films")
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[:-1])
    other.replace(path)
    service.reload()
    service.reload()
    path.unlink()
    service.reload()
    assert service.find("films") is before
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "films.safetensors was not reloaded: " in messages[0]
    assert "truncated" in messages[0]


def test_two_files_of_the_same_name_are_refused(path):
    with pytest.raises(ValueError, match="expected model files of different names"):
        Service(ServerSettings((str(path), str(path))))


def test_arrays_of_a_served_model_are_those_of_the_file(service, path):
    parameters = service.find("films").model.fitted_.model.factorization.parameters
    assert not parameters["user_embedding.weight"].flags.writeable
    assert os.fspath(path) in Path("/proc/self/maps").read_text()
